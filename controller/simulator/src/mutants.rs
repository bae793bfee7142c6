//! Broken controllers, to see that the oracles bite: each known failure of controllers in the field,
//! and each rule of ours that could be forgotten, put around the real code from outside.
//!
//! ```text
//!   Mutant ─▶ Bent ─┬─▶ MutantPlatform ─▶ SimPlatform      the real reconcile code runs in between,
//!                   ├─▶ MutantStore ────▶ SimStore         and behaves as the broken controller would
//!                   ├─▶ MutantClock ────▶ SimClock
//!                   └─▶ what a process is started with
//!
//!   hunt: seed 0, 1, 2 … until an oracle bites, and the unchanged controller passes that very seed
//! ```
//!
//! Nothing here is a switch in the controller: it is the controller, and its seams lie to it.

pub mod bent;
pub mod catalogue;
pub mod clock;
pub mod hunt;
pub mod platform;
pub mod report;
pub mod store;

pub use bent::Bent;
pub use catalogue::{Ground, INEXPRESSIBLE, Inexpressible, MUTANTS, Mutant, Mutation, Seam};
pub use clock::MutantClock;
pub use hunt::{Catch, Hunt, hunt};
pub use platform::MutantPlatform;
pub use store::MutantStore;
