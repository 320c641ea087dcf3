#!/usr/bin/env bash
# Checks the shell and Python files of the project: ShellCheck for the first, the syntax for the second.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
cd "$here/../.."

bin=$(venv)
mapfile -t scripts < <(git ls-files '*.sh'; git grep -lI '^#!/usr/bin/env bash' | grep -v '\.sh$')
"$bin/shellcheck" --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
mapfile -t programs < <(git ls-files '*.py')
python3 -c 'import ast, sys; [ast.parse(open(name, encoding="utf-8").read(), name) for name in sys.argv[1:]]' "${programs[@]}"
echo "${#scripts[@]} shell and ${#programs[@]} Python files are in order"
