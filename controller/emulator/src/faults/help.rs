//! What the command line says about documents of faults.

/// The help of `--faults`.
pub const HELP: &str = "\
What goes wrong on purpose: a list of faults in YAML

  - kind: lost-reply         # what goes wrong
    action: create-machine   # for whom: action, method, path, app, machine, region
    app: acme-*              # (in app and machine, * and ? fit)
    after: 1                 # when: after, times (calls); in, for (spans);
    times: 1                 # probability with seed

Calls:     fail {status, error, code}, act-then-fail {status, error, code},
           lost-request, lost-reply, delivered-twice, latency {delay},
           rate-limit, token-trouble, region-full, host-full, volume-host-full,
           organization-limit {status}, name-taken, start-refused {delay},
           foreign-lease, dead-host {status}
Answers:   empty-list, stale-list {age}, partial-list {regions}, wire-drift,
           flicker {state}
Machines:  slow-image {delay}, reverted-update {delay}, lingering-claim {delay},
           destroyed-shown {delay}
By itself: migration, autostop, user-stop, user-edit {config}, user-destroy;
           {delay} after the machine started, once unless `times` says more

S3, IAM and GraphQL are hit by faults that name an operation, and by no others:
operation: iam.CreateAccessKey, s3.PutObject, s3.*, graphql.setSecrets, …, with fail,
act-then-fail, lost-request, lost-reply, delivered-twice, latency, rate-limit and
token-trouble; `code` is then the code of S3's or IAM's error.

GET /_emulator/faults shows them with how often each happened, PUT replaces them
(the same list as JSON), DELETE ends them; the operator's token is needed. A call
with the header `vault-emulator-faults: off` meets none.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::kind::KINDS;

    #[test]
    fn the_help_names_every_kind_and_what_it_may_be_told() {
        for entry in KINDS {
            let at = HELP.find(entry.name).unwrap_or_else(|| panic!("{} is not named", entry.name));
            let told = &HELP[at..];
            for option in entry.options {
                assert!(told.contains(option), "{}: {option}", entry.name);
            }
        }
    }
}
