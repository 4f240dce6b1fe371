# The two commands of the README are `make demo` and `make test`; the rest is for those who work here.

GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT  := go run mvdan.cc/gofumpt@v0.12.0

RELEASE ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -X main.release=$(RELEASE) -X main.commit=$(COMMIT)

.PHONY: all build build-failpoints demo test unit e2e e2e-ledger e2e-awa e2e-awa-catalogs e2e-matrix mutants mutants-worlds chaos soak week check fmt fuzz benched older bench bench-profile bench-reconcile bench-start bench-scrape look screenshots image release release-check deploy-check bench-all matrix clean

all: build

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/awa-counterd ./cmd/awa-counterd

# A throwaway PostgreSQL, old and new workers, the daemon, its death and return, a picture and a verdict. About a minute.
# SHAPE=306, striped or ledger is the shape of awa's counter, here and below; ARGS="-length 5s" is a short one.
SHAPE ?= ledger
demo: build
	go run ./e2e/demo -daemon bin/awa-counterd -shape $(SHAPE) $(ARGS)

# Everything that decides whether a change is right. PostgreSQL is installed when it is missing.
test: unit deploy-check mutants e2e

unit:
	go test ./applier/... ./checkpoint/... ./cmd/... ./decoder/... ./internal/... ./reconcile/... ./replication/...

e2e:
	go test -count=1 -parallel 6 -timeout 60m ./e2e/...

# Every command in every state, killed at every statement that it sends: half an hour. make e2e kills each pair once.
e2e-matrix:
	AWACD_MATRIX=all go test -v -count=1 -parallel 6 -timeout 90m -run TestCommandsInEveryState ./e2e

# The tests that were written for #306, on the ledger as well; those of the ledger itself are in e2e.
e2e-ledger:
	AWACD_SHAPE=ledger go test -count=1 -timeout 20m ./e2e

# With awa itself: published releases, old and new, in one database, each pair without awa-counterd and with it. It goes
# on where it was interrupted (tmp/realawa), two minutes a cell; PART=short is one cell, PART=pairs,errors,migrate
# and the like are others, ARGS="-old 0.6.0b1 -leads new" selects some, ARGS=-again runs all of them again; ARGS="-lanes 2"
# runs two pairs at once, on two cores with nothing else beside them: a busy machine keeps awa's ring from turning.
e2e-awa: REPORT ?= docs/reports/compatibility.md
e2e-awa: PART ?= pairs
e2e-awa: build
	go run ./e2e/realawa -daemon bin/awa-counterd -part $(PART) $(if $(SEED),-seed $(SEED)) $(ARGS) -report '$(REPORT)'

# The imitated fleet's tables beside those that awa's own migrators make. Installs the two releases; where they cannot
# be had, it says so and succeeds.
e2e-awa-catalogs:
	AWACD_WHEELS=install go test -v -count=1 -run 'TestCatalogs/^(0\.6\.0b2|0\.6\.9)$$' ./e2e/fleet

# Each line of internal/testonly/mutants/list*.go breaks one invariant; a named test has to notice.
mutants:
	go test -v -count=1 -timeout 60m -parallel 3 -tags mutants -run TestEveryMutantIsKilled ./internal/testonly/mutants

# Those that the small worlds find: each in the world that docs/reports/mutants.md names, every time.
mutants-worlds:
	go test -v -count=1 -timeout 60m -parallel 2 -tags mutants -run TestWorldsFindMutants ./internal/testonly/mutants

# The daemon that can be told where to die (internal/base/failpoint).
build-failpoints:
	CGO_ENABLED=0 go build -trimpath -tags failpoints -ldflags '$(LDFLAGS)' -o bin/awa-counterd-failpoints ./cmd/awa-counterd

# Every fault singly, then some mixed: four minutes. SEED=n replays a run, REPORT= leaves the docs alone.
chaos: REPORT ?= chaos=docs/reports/chaos.md
chaos: build-failpoints
	go run ./e2e/chaos -shape $(SHAPE) $(if $(SEED),-seed $(SEED)) -report '$(REPORT)'

# The same, and mixed faults for as long as asked, then calm.
KILLS   ?= 1000
MINUTES ?= 60
soak: REPORT ?= soak=docs/reports/soak.md
soak: build-failpoints
	go run ./e2e/chaos -shape $(SHAPE) $(if $(SEED),-seed $(SEED)) -kills $(KILLS) -minutes $(MINUTES) -report '$(REPORT)'

# A week of life in an hour: days, bursts and quiet nights, restarts, a change of password, a publication that is dropped, rotated logs;
# memory, connections, WAL and logs have to stay as they are. LENGTH=2m shows that the program works, and writes no page.
LENGTH ?= 1h
week: REPORT ?= $(if $(filter 1h,$(LENGTH)),docs/reports/week.md)
week: build
	go run ./e2e/week -daemon bin/awa-counterd -shape $(SHAPE) -length $(LENGTH) -report '$(REPORT)' $(ARGS)

# The whole e2e suite and the short chaos run on each supported PostgreSQL. It goes on where it was broken off
# (tmp/majors); MAJORS=14,18 leaves some, ARGS="-again -run TestVersions -chaos=false" is a part. One major by hand:
# AWACD_PG=17 make e2e, and the same with demo, chaos and soak.
matrix: REPORT ?= docs/reports/postgres.md
matrix: build-failpoints
	go run ./e2e/majors $(if $(MAJORS),-majors $(MAJORS)) $(ARGS) -report '$(REPORT)'

# Style, static analysis, races and leaks.
check:
	@out=$$($(GOFUMPT) -l .); test -z "$$out" || { echo "gofumpt: $$out"; exit 1; }
	go vet ./...
	$(GOLANGCI) run ./...
	go test -race ./applier/... ./checkpoint/... ./cmd/... ./decoder/... $$(go list ./internal/... | grep -v /sim) ./reconcile/... ./replication/...
	go test -race ./internal/testonly/sim -sim.seeds=10 -sim.worlds=none
	go test -race -count=1 -run 'TestEachOperation|TestSignals|TestStandby|TestConnectionsLost|TestNothingIsLeftBehind' ./e2e

fmt:
	$(GOFUMPT) -w .

FUZZTIME ?= 5m
fuzz:
	go test ./decoder -run xxx -fuzz FuzzDecode -fuzztime $(FUZZTIME)
	go test ./decoder -run xxx -fuzz FuzzStream -fuzztime $(FUZZTIME)

# Speed and cost, part by part (go run ./e2e/bench -help). Rounds are kept beside the pages that are made of them: what was broken off
# goes on, and what is kept is not measured again, but with ARGS=-again. ARGS="-scale 0.01" shows within minutes that the parts work, and
# writes no page.
ROUNDS = $(if $(findstring -scale,$(ARGS)),tmp/bench,docs/reports/rounds)
BENCH = go run ./e2e/bench -daemon tmp/benched/awa-counterd -pages docs/reports -results $(ROUNDS)

# A binary without a name of its own: what the pages that a run writes do to the tree's state makes no other binary of it.
benched:
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-X main.release=bench' -o tmp/benched/awa-counterd ./cmd/awa-counterd

# Drains a backlog of 1,000,000 row changes, the daemon against pg_recvlogical and a plain Go loop, on the ledger shape and on
# #306, in one run; then what many groups cost.
bench: benched
	$(BENCH) -part drain,size $(ARGS)

# All of it into docs/benchmarks.md, with profiles of this commit and of one before: some five hours, on a machine that does nothing else.
# PART=staleness,idle is some of it; ARGS="-within 1h" begins no round after that, and the next run goes on. Commit before, not between:
# rounds of another daemon are left out, and unfinished parts of another commit; only the pages that it writes itself may change.
bench-all: PART ?= all
bench-all: benched older
	$(BENCH) -part $(PART) -report docs/benchmarks.md -profiles tmp/profiles -older tmp/older/awa-counterd $(ARGS)

# The daemon of BEFORE, to compare profiles with: by default the last one that read the stream through Go's network poller.
BEFORE ?= 21d0b21
older:
	rm -rf tmp/older && mkdir -p tmp/older/tree
	git archive $(BEFORE) | tar -x -C tmp/older/tree
	cd tmp/older/tree && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-X main.release=before -X main.commit=$$(git rev-parse $(BEFORE))" -o ../awa-counterd ./cmd/awa-counterd
	rm -rf tmp/older/tree

# Where the daemon's time goes, and nothing else of bench-all: a round of each part with processor profiles, kept apart.
bench-profile: PART ?= drain,rows,staleness,load,writers,bloat,locks,wal,start,resume,size,idle,scrape,memory
bench-profile: benched
	$(BENCH) -part $(PART) -rounds 1 -profile tmp/profiles $(ARGS)

# The one-shot on 20,000,000 rows: time against a plain count, memory, and what writers wait for.
bench-reconcile: benched
	$(BENCH) -part oneshot $(ARGS)

# A start beside a leaf of 20,000,000 rows or more, whose scan lasts longer than 65,536 transactions take at 5,000 a second.
bench-start: benched
	$(BENCH) -part start $(ARGS)

# What Prometheus costs the daemon at 10,000 groups: a quarter of an hour, on a machine that does nothing else.
bench-scrape: benched
	$(BENCH) -part scrape $(ARGS)

# The image of deploy/Dockerfile as an OCI archive, without a container engine. ARCH=arm64 for another processor.
image:
	go run ./deploy/image -release $(RELEASE) -commit '$(COMMIT)' $(if $(ARCH),-arch $(ARCH)) -o dist/awa-counterd.oci.tar

# What is published of a version, into dist: an archive and a bill of materials for each platform, and checksums. RELEASE=v0.1.0 where
# there is no tag; the same commit and the same Go make the same bytes. ARGS="-platforms linux/amd64" is one of them.
STAMP ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
release:
	go run ./deploy/release -release $(RELEASE) -commit '$(COMMIT)' -stamp $(STAMP) -o dist $(ARGS)

# Each platform twice, here and elsewhere, compiled from nothing the second time: some minutes. make deploy-check does this machine's.
release-check:
	AWACD_RELEASE=whole go test -v -count=1 -timeout 60m -run TestSameCommitSameBytes ./deploy/release

# Each file of deploy/ by its own tool. The manifests' types are in a module of their own.
deploy-check:
	go test ./deploy/...
	cd deploy/check && go test ./...

# Pictures of the daemon's page in each state, into tmp/look: two minutes, and Chromium.
look: build
	go run ./e2e/screenshots -daemon bin/awa-counterd

# The handbook's three: before, during and after a loss of trust.
screenshots: build
	go run ./e2e/screenshots -daemon bin/awa-counterd -docs -out docs/screenshots

clean:
	rm -rf bin dist
