# bash completion for awa-counterd; made by go test ./cmd/awa-counterd -run 'TestCompletions|TestManPage' -update
_awa_counterd() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command="" words="" i
	if [[ $cur == "=" ]]; then
		cur=""
	elif [[ $prev == "=" ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		run | status | reconcile | doctor | setup | teardown | finish | distrust | version)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	COMPREPLY=()
	case $command:$prev in
	run:--slot-lifetime) words="permanent temporary failover" ;;
	run:--trust) words="live quiet off" ;;
	run:--log-format) words="auto console json" ;;
	run:--log-level) words="debug info warn error" ;;
	run:--database-url | run:--schema | run:--slot | run:--publication | run:--max-retained-wal | run:--quiet-period | run:--max-staleness | run:--flush-interval | run:--checkpoint-interval | run:--audit-interval | run:--status-interval | run:--listen | status:--database-url | status:--schema | status:--slot | status:--quiet-period | reconcile:--database-url | reconcile:--schema | reconcile:--observe | doctor:--database-url | doctor:--schema | doctor:--slot | doctor:--publication | doctor:--role | setup:--database-url | setup:--schema | setup:--slot | setup:--publication | setup:--role | teardown:--database-url | teardown:--schema | teardown:--slot | teardown:--publication | teardown:--role | finish:--database-url | finish:--schema | finish:--slot | finish:--publication | finish:--role | finish:--quiet-period | finish:--timeout | distrust:--database-url | distrust:--schema) return ;;
	:*) words="run status reconcile doctor setup teardown finish distrust version --help" ;;
	run:*) words="--database-url --schema --slot --publication --slot-lifetime --max-retained-wal --no-setup --dry-run --trust --quiet-period --max-staleness --flush-interval --checkpoint-interval --audit-interval --status-interval --listen --pprof --log-format --log-level --help" ;;
	status:*) words="--database-url --schema --slot --quiet-period --watch --json --help" ;;
	reconcile:*) words="--database-url --schema --check --trust --observe --json --help" ;;
	doctor:*) words="--database-url --schema --slot --publication --role --json --help" ;;
	setup:*) words="--database-url --schema --slot --publication --role --print-sql --json --help" ;;
	teardown:*) words="--database-url --schema --slot --publication --role --print-sql --json --help" ;;
	finish:*) words="--database-url --schema --slot --publication --role --quiet-period --timeout --help" ;;
	distrust:*) words="--database-url --schema --after-stop --json --help" ;;
	version:*) words="--json --help" ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _awa_counterd awa-counterd
