//! Copies between two folders over a real connection, and what a hostile other end can do: nothing
//! outside the destination.

mod attacks;
mod faithful;
mod pair;
mod resuming;
