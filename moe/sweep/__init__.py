"""A sweep: one folder for all its jobs, found again by what was overridden.

`names` names its folders, `record` is what it leaves beside its jobs, `jobs` runs one as a process of its own,
`gpus` gives each a GPU, `ending` is what a user sees at its end.
"""

from moe.sweep import names

names.register()
