//! The crash matrix: large enough, and run whole.

use std::thread::available_parallelism;

use vault_simulator::matrix::Matrix;
use vault_simulator::seed::Seeds;

/// More than the largest published set of plans that was executed whole.
const TRACES_MIN: usize = 4_800;
/// How many failing cases are shown.
const FAILURES_MAX: usize = 5;

#[test]
fn no_plan_of_the_whole_matrix_violates_anything() {
    let mut seeds = Seeds::default();
    let matrix = Matrix::new(&mut seeds, None);
    let threads = available_parallelism().map_or(1, usize::from);
    let findings = matrix.run_all(threads, FAILURES_MAX);
    assert!(findings.violations.is_empty(), "{:#?}", findings.violations);
    assert_eq!(findings.cases, matrix.len(), "every plan is run");
    assert_eq!(findings.coverage.contradictions(), Vec::<String>::new());
    let traces = findings.traces.len();
    assert!(traces >= TRACES_MIN, "{traces} distinct traces of {} plans", findings.cases);
}
