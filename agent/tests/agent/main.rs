//! The agent, driven over real sockets by a raw client that trusts anything.

mod audit;
mod bounds;
mod commands;
mod files;
mod forwards;
mod input;
mod program;
mod proving;
mod provision;
mod provision_kills;
mod roots;
mod sessions;
mod support;
mod terminals;
