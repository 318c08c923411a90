"""Pure byte spans: where a value stands in a file, and how to put another one there.

A format is a reader (`json.read`, `dotenv.read`) that turns bytes into leaves; `splice` does the rest, alike
for all. Nothing here opens a file or knows what a secret is, and nothing here ever dumps: bytes outside of
the chosen spans stay as they are.
"""
