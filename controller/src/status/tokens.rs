//! What a status says of deploy tokens: names, numbers and times, never a value.

use vault_api::tokens::TokenStatus;
use vault_plan::token::TokenReport;

use super::Facts;
use crate::clock::rfc3339;

/// The wanted tokens. Where nothing was decided about them, what was known stands.
pub(super) fn tokens(facts: &Facts<'_>) -> Vec<TokenStatus> {
    let reports = &facts.report.tokens;
    match facts.before {
        Some(before) if reports.is_empty() && !facts.desired.deleting => {
            let wanted = &facts.desired.tokens;
            let is_wanted =
                |known: &&TokenStatus| wanted.iter().any(|token| *token.name == known.name);
            // A tenant that cannot be resolved wants what it wanted before.
            let all = facts.desired.machines.is_err();
            before.tokens.iter().filter(|known| all || is_wanted(known)).cloned().collect()
        }
        _ => reports.iter().map(status).collect(),
    }
}

fn status(report: &TokenReport) -> TokenStatus {
    TokenStatus {
        name: report.name.to_string(),
        n: report.current.map(|current| current.n),
        expires_at: report.current.map(|current| rfc3339(current.expires_at)),
        next_rotation: report.current.map(|current| rfc3339(current.next_rotation)),
    }
}
