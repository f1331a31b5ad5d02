"""A stateful stand-in of an Evolution API server (2.3.6, or another version by profile), for people without a phone.

It speaks Evolution's HTTP on a real socket, posts real webhooks and plays the phone that scans the QR code.
`python -m sandbox` runs it alone; tests use `sandbox.server.Sandbox`. It imports nothing else of this
product.
"""
