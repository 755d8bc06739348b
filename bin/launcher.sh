#!/bin/sh
# Starts the program beside it, NAME.bin. Node dies at its start (SIGSEGV in ICU, before a line of JavaScript)
# where LC_ALL, LC_MESSAGES or LANG holds a long word that is no locale, and sshd takes these from its
# client (AcceptEnv LANG LC_* is what Debian ships). Nothing here depends on the locale.
LC_ALL=C
export LC_ALL
program=$0
if [ -L "$program" ]; then program=$(readlink -f "$program"); fi
exec "$program.bin" "$@"
