//! The built binary against a fake of the controller's HTTP contract.

mod fake;
mod reading;
mod writing;
