"""Where adapters are constructed and handed to use cases; nothing else constructs them.

A command imports the module that it needs and no other: ``licences`` opens a licence state,
``engines`` the native library, ``models`` what downloads and judges, ``vision`` an analysis in this
process, ``serving`` one in a process of its own, ``upkeep`` what an installation does with itself.
"""
