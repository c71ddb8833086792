# ./justw RECIPE works on a machine with nothing but Python 3.11: every recipe installs what is missing first.

set positional-arguments := true

export PYTHONPATH := justfile_directory() + ":" + justfile_directory() / "sdk"
export PYTHONUTF8 := "1"
export PYTHONDONTWRITEBYTECODE := "" # dozens of processes import the same modules: compiled once
python := justfile_directory() / ".venv/bin/python"
bin := justfile_directory() / ".venv/bin"

# show the recipes
[private]
default:
    @"{{ bin }}/just" --justfile "{{ justfile() }}" --list --unsorted

# install the locked packages into the checkout; nothing to do when the locks have not changed
[group('setup')]
[no-exit-message]
install:
    @"{{ python }}" -m deploy.install

# make a member of the library and its test on a data set that is there: just new-model NAME DATA_SET
[group('library')]
[no-exit-message]
new-model *arguments: install
    @"{{ python }}" -m deploy.new_model "$@"

# train, export, compare and judge a member of the library, as its review asks: just check-model NAME [--epochs N] [--layers]
[group('library')]
[no-exit-message]
check-model *arguments: install
    @"{{ python }}" -m deploy.check_model "$@"

# bring the data of the library's members into the cache, all of it or that of the data sets named
[group('library')]
[no-exit-message]
data *arguments: install
    @"{{ python }}" -m library.data "$@"

# train, evaluate, promote, serve and call each member, or those named, on the stack, and print and write the table; --full: those too that take long
[group('library')]
[no-exit-message]
library *arguments: install
    @"{{ python }}" -m examples.all_members "$@"

# train, evaluate, promote and serve a model on the running stack, and show it
[group('stack')]
[no-exit-message]
demo *arguments:
    @"{{ bin }}/just" --justfile "{{ justfile() }}" up "$@"
    @"{{ python }}" -m examples.demo "$@"

# make the optimised forms of a version on the running stack, and print and write what each costs and gains
[group('library')]
[no-exit-message]
optimise *arguments: install
    @"{{ python }}" -m benchmarks.optimised "$@"

# show where the time of a served call goes, to the operators of its graph, and write it as a Chrome trace
[group('library')]
[no-exit-message]
profile *arguments: install
    @"{{ python }}" -m benchmarks.profiled "$@"

# try instances, batches and delays of a model at a Triton of its own, and suggest what suits this machine
[group('library')]
[no-exit-message]
suggest *arguments: install
    @"{{ python }}" -m benchmarks.suggested "$@"

# start the whole system and return when all is ready
[group('stack')]
[no-exit-message]
up *arguments: install
    @"{{ python }}" -m deploy.embedded up "$@"

# stop the whole system; state stays in .aimass
[group('stack')]
[no-exit-message]
down *arguments: install
    @"{{ python }}" -m deploy.embedded down "$@"

# keep the state of the running stack in a folder of its own: just backup [FOLDER] [--keep 7]
[group('stack')]
[no-exit-message]
backup *arguments: install
    @cd "{{ invocation_directory() }}" && "{{ python }}" -P -m deploy.backup backup "$@"

# make a state folder of a backup: just restore BACKUP [--home FOLDER] [--replace] [--check] [--up]
[group('stack')]
[no-exit-message]
restore *arguments: install
    @cd "{{ invocation_directory() }}" && "{{ python }}" -P -m deploy.backup restore "$@"

# show each part: pid, uptime, memory, ready
[group('stack')]
[no-exit-message]
status *arguments: install
    @"{{ python }}" -m deploy.embedded status "$@"

# print the log of a part; -f goes on as it grows
[group('stack')]
[no-exit-message]
logs *arguments: install
    @"{{ python }}" -m deploy.embedded logs "$@"

# seal all secrets of the running stack with a new key, and forget the older ones
[group('stack')]
[no-exit-message]
rotate-secrets *arguments: install
    @"{{ python }}" -m deploy.embedded.rotation "$@"

# the command line as the admin of the running stack, with nothing to log in to: just aimass tasks
[group('stack')]
[no-exit-message]
aimass *arguments: install
    @"{{ python }}" -m deploy.embedded.command_line "$@"

# make a private CA, and certificates for the bus, the gateway and each service: just certificates FOLDER [--host NAME]
[group('setup')]
[no-exit-message]
certificates *arguments: install
    @cd "{{ invocation_directory() }}" && "{{ python }}" -P -m deploy.certificates "$@"

# show what the admin step would change on the running stack (roles, migrations, streams, consumers), and do it; --plan: only show
[group('stack')]
[no-exit-message]
provision *arguments: install
    @"{{ python }}" -m deploy.embedded provision "$@"

# rebuild monitor's lists and timeline from the log of events while it runs, and say whether they were right: [--anew]
[group('stack')]
[no-exit-message]
replay *arguments: install
    @"{{ python }}" -m deploy.embedded.replay "$@"

# run the platform's tests against real servers on free ports, in five processes, so that some work while others wait
[group('checks')]
test *arguments: install
    @"{{ python }}" -m pytest -n 5 --dist loadfile --no-loadscope-reorder -m "not chaos and not slow and not library" "$@"

# run the tests of the library: each member and data set, and the tools that make and change them
[group('checks')]
test-library *arguments: install
    @"{{ python }}" -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m library "$@"

# whatever can come at each parser of what comes from outside: [--minutes 10] [TARGET ...]
[group('checks')]
[no-exit-message]
fuzz *arguments: install
    @"{{ python }}" -m tests.security.fuzzing "$@"

# mixed faults over a whole stack under load, by a seed, and what an auditor finds after: [--seed N] [--faults 1000]
[group('checks')]
[no-exit-message]
chaos *arguments: install
    @"{{ python }}" -m tests.faults.mixed "$@"

# ask every route as the OpenAPI document describes it, as admin, engineer and viewer: [--seed N] [--examples N]
[group('checks')]
[no-exit-message]
walk *arguments: install
    @"{{ python }}" -m tests.schema.walk "$@"

# kill, freeze and restart every part at every point of the main job, one fault at a time, and print the table
[group('checks')]
chaos-table *arguments: install
    @"{{ python }}" -m pytest -m "" tests/faults "$@"

# start the stack of an earlier commit, and take its state over with this one
[group('checks')]
upgrade *arguments: install
    @"{{ python }}" -m pytest -m slow tests/integration/test_upgrade.py "$@"

# the tests that a usual run leaves out, as they take long or install much: an upgrade, other model servers, two nodes
[group('checks')]
slow *arguments: install
    @"{{ python }}" -m pytest -m slow "$@"

# demo and tests in a fresh clone of HEAD, with times; arguments go to the tests
[group('checks')]
fresh *arguments: install
    @"{{ python }}" -m deploy.fresh "$@"

# open the pages of a running stack in Debian's Chromium
[group('checks')]
browser *arguments: install
    @"{{ python }}" -m pytest tests/browser "$@"

# check style, format and the import contracts
[group('checks')]
lint: install
    @"{{ bin }}/ruff" check .
    @"{{ bin }}/ruff" format --check .
    @"{{ bin }}/lint-imports"

# check types
[group('checks')]
types: install
    @"{{ bin }}/mypy"

# check the contracts of record, and that they break nothing since the last release tag
[group('checks')]
proto: install
    @cd proto-schemas && "{{ bin }}/buf" lint
    @"{{ python }}" -m deploy.breaking

# run tests and show which lines no test has run
[group('checks')]
coverage *arguments: install
    @"{{ bin }}/coverage" erase
    @"{{ bin }}/coverage" run -m pytest -n 4 --dist loadfile --no-loadscope-reorder "$@"
    @"{{ bin }}/coverage" combine --quiet
    @"{{ bin }}/coverage" report {{ if arguments == "" { "--fail-under=88" } else { "" } }}

# run the checks before each commit
[group('setup')]
hooks: install
    @"{{ bin }}/pre-commit" install

# write .env, the secrets of docker-compose.yml, made once and kept
[group('setup')]
secrets: install
    @"{{ python }}" -m deploy.compose.secrets

# make the rooms of a new service and say what is left to do by hand
[group('setup')]
new-service name: install
    @"{{ python }}" -m deploy.new_service "$@"

# Ray's own command, installed at its first use: just ray start --head, just ray status
[group('stack')]
[no-exit-message]
ray *arguments: install
    @"{{ python }}" -m deploy.ray "$@"

# write what follows from the code: docs/reference/, docs/graph.md, docs/library.md, docs/asyncapi.json, docs/events.md, docker-compose.yml, lists in READMEs
[group('docs')]
docs: install
    @"{{ python }}" -m deploy.reference

# measure requests a second and latency through the gateway and at Triton directly; --peers adds other servers; --training: the training loop
[group('checks')]
[no-exit-message]
bench *arguments: install
    @"{{ python }}" -m benchmarks.data_plane "$@"

# measure what a small prediction costs the gateway and inference alone; --against CHECKOUT measures that one in turn
[group('checks')]
path-cost *arguments: install
    @"{{ python }}" -m benchmarks.path_cost "$@"

# measure what it costs the gateway to know a caller, to let him in and to count him, with 1 key and with 100,000
[group('checks')]
bench-identity *arguments: install
    @"{{ python }}" -m benchmarks.identity "$@"

# what a stack takes that does nothing, by process: [--seconds 60]
[group('checks')]
[no-exit-message]
bench-idle *arguments: install
    @"{{ python }}" -m benchmarks.idle "$@"

# draw the plot of the last benchmark again, or of a file of results
[group('checks')]
[no-exit-message]
bench-plot *arguments: install
    @"{{ python }}" -m benchmarks.plot "$@"

# ask the control API at rest and while a training runs, its log is followed and 100 events a second are said: [--minutes 5]
[group('checks')]
api-load *arguments: install
    @"{{ python }}" -m benchmarks.api_load "$@"

# ask a model for three times what it can answer, and see what comes through and how the rest is refused
[group('checks')]
overload *arguments: install
    @"{{ python }}" -m benchmarks.overload "$@"

# load, switch and unload versions under load on two inference processes, kill processes of models, check every answer
[group('checks')]
mixed *arguments: install
    @"{{ python }}" -m benchmarks.mixed "$@"
