"""The composition root: the one package that knows everybody.

`system` makes all parts, `web` puts the application on top, `readings` says what deliveries mean and to whom, `upkeep`
what the schedule runs. Only `web` needs Flask: the other processes are 20 MB smaller without it.
"""
