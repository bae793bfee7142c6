//! The crash matrix: large enough, and a part of it that spreads over all of it.

use vault_simulator::matrix::{Findings, Matrix};
use vault_simulator::seed::Seeds;

/// How many cases are run here; the program runs all.
const CASES: usize = 150;
/// More than the largest published set of plans that was executed whole.
const CASES_MIN: usize = 4_800;

#[test]
fn a_part_of_the_matrix_violates_nothing() {
    let mut seeds = Seeds::default();
    let matrix = Matrix::new(&mut seeds, None);
    assert!(matrix.len() >= CASES_MIN, "{} cases", matrix.len());
    let mut findings = Findings::default();
    for case in (0..matrix.len()).step_by(matrix.len() / CASES) {
        matrix.run(case, &seeds, &mut findings);
    }
    assert!(findings.violations.is_empty(), "{:#?}", findings.violations);
    assert!(findings.cases >= CASES && findings.traces.len() > CASES / 2, "{findings:?}");
}
