# `just` lists the recipes; `just ci` is what CI runs.

default:
    @just --list

# Bring up platform, controller and the example tenants on this machine
dev *ARGS:
    cargo run --release -- dev manifests/ {{ARGS}}

# All tests
test:
    cargo test --release --workspace

# Kill real controllers after every answer, and at random for so many seconds
kills SECONDS="600":
    VAULT_KILLS=all VAULT_KILLS_SECONDS={{SECONDS}} \
        cargo test --release --workspace --test e2e kills:: -- --nocapture

# Run broken controllers in the simulator until an oracle bites; none may survive
broken *ARGS:
    cargo run --release -p vault-simulator -- mutants {{ARGS}}

# Change the planner and the journal one expression at a time; a test has to notice. Hours; `--re`
# with a pattern of paths and `--shard K/N` choose a part
mutants *ARGS:
    cargo mutants --workspace --jobs 1 {{ARGS}}

# What CI runs
ci:
    .ci/run

# Formatting and lints, as CI wants them
lint:
    cargo fmt --all -- --check
    cargo clippy --release --workspace --all-targets -- -D warnings

# Regenerate what is generated: JSON Schemas and snapshots
generate:
    UPDATE_SCHEMAS=1 cargo test --release -p vault-api --test schemas
    INSTA_UPDATE=always cargo test --release --workspace

# Benchmarks; see BENCHMARKS.md
bench:
    cargo bench --workspace --bench plan --bench agent --bench peers --bench unpack
