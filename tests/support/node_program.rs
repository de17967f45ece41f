//! The program that runs on a node, run here by each shell: places for it, and those who kill it or spy on it.

pub mod bench;
pub mod killed;
pub mod shells;
pub mod spy;
