"""Bring rows and gateway instances of earlier versions into order: behind scripts/migrate_whatsapp.py.

`names` and `plan` are pure: whose an instance is, and what is to be done about it. `rows` is the SQL, `gateway` what a
run sees of the gateway, `settling` and `comparing` its two parts, `takeover` the adoption of one instance, `run` the
order of it all, `report` what it came to. Evolution cannot rename: an instance keeps its name there (`gateway_name`),
and with it its session.
"""

from manager.adoption.job import Progress
from manager.adoption.report import Report
from manager.adoption.run import Adoption, Run

__all__ = ["Adoption", "Progress", "Report", "Run"]
