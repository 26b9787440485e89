#!/bin/sh
# The command of the package: with the Node.js that it was built and tested with.
exec /usr/lib/casemate/bin/node /usr/lib/casemate/dist/daemon/cli/casemate.cjs "$@"
