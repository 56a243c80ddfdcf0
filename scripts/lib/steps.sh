# SPDX-License-Identifier: Apache-2.0
# Tests that are counted: sourced by check and debian13, which set $here (the tree) and $out (a folder for logs).
# finish() prints "N passed, N failed, N skipped" as the last line, and the exit status is 0 only if none failed.

passed=0 failed=0 skipped=0
why="" # what finish() shows of each failure again, since a long log is often cut in the middle
began=$(date +%s)

# step NAME COMMAND...: one check of its own; its output is shown if it fails.
step() {
	local name=$1 t0
	t0=$(date +%s)
	shift
	if "$@" >"$out/$name.log" 2>&1; then
		passed=$((passed + 1))
		echo "ok    $name ($(($(date +%s) - t0)) s)"
		return 0
	fi
	failed=$((failed + 1))
	echo "FAIL  $name: $*"
	tail -n 60 "$out/$name.log"
	why+="--- $name"$'\n'"$(tail -n 25 "$out/$name.log")"$'\n'
	return 1
}

# meson_tests BUILD LABEL [ARGS]: adds meson's counts to ours.
meson_tests() {
	local build=$1 label=$2 log="$out/$2.log" n t0
	t0=$(date +%s)
	shift 2
	meson test -C "$build" --no-rebuild --print-errorlogs "$@" >"$log" 2>&1
	local rc=$?
	local ok bad skip
	ok=$(awk '/^Ok:/ {print $2}' "$log")
	skip=$(awk '/^Skipped:/ {print $2}' "$log")
	bad=$(awk '/^(Fail|Timeout|Unexpected Pass):/ {n += $NF} END {print n + 0}' "$log")
	passed=$((passed + ${ok:-0}))
	skipped=$((skipped + ${skip:-0}))
	failed=$((failed + bad))
	n=$((${ok:-0} + bad))
	if [ $rc -ne 0 ] && [ "$bad" -eq 0 ] || [ "$n" -eq 0 ]; then
		failed=$((failed + 1)) # it did not even run
	fi
	if [ $rc -ne 0 ] || [ "$n" -eq 0 ]; then
		echo "FAIL  $label"
		tail -n 80 "$log"
		why+="--- $label"$'\n'"$(grep -A 40 -E '^ *[0-9]+/[0-9]+ .* (FAIL|TIMEOUT|ERROR|UNEXPECTEDPASS) ' "$log" |
			grep -vE '^ *[0-9]+/[0-9]+ .* (OK|SKIP) ' | head -n 60)"$'\n'
		return 1
	fi
	echo "ok    $label: ${ok:-0} tests, ${skip:-0} skipped ($(($(date +%s) - t0)) s)"
}

# smoke_tests BUILD LABEL [ARGS]: the runner ends with a line of the same form as ours. Most tests wait most of the time, so there
# is a lane more than there are cores.
smoke_tests() {
	local build=$1 log="$out/$2.log" label=$2 line t0
	t0=$(date +%s)
	shift 2
	python3 "$here/tests/smoke/run.py" --build "$build" --jobs $(($(nproc) + 1)) "$@" >"$log" 2>&1
	local rc=$?
	line=$(tail -n 1 "$log")
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + BASH_REMATCH[3]))
		[ $rc -ne 0 ] && [ "${BASH_REMATCH[2]}" -eq 0 ] && failed=$((failed + 1))
	else
		failed=$((failed + 1))
		rc=1
	fi
	grep -E '^(ok|FAIL|skip|     )' "$log"
	echo "      $label took $(($(date +%s) - t0)) s"
	[ $rc -eq 0 ] || why+="--- $label"$'\n'"$(grep -B 30 '^FAIL' "$log" | grep -vE '^(ok|     )' | tail -n 90)"$'\n'"$(tail -n 3 "$log")"$'\n'
	return $rc
}

# setup BUILD ARGS...: configures a build folder that is kept from run to run.
setup() {
	local build=$1
	shift
	if [ -f "$build/build.ninja" ]; then
		meson setup --reconfigure "$build" "$here" "$@"
	else
		meson setup "$build" "$here" "$@"
	fi && ninja -C "$build"
}

finish() {
	[ -z "$why" ] || printf 'what failed:\n%s' "$why"
	echo "took $(($(date +%s) - began)) s"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
	exit
}
