//! The `weft` binary.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Peers make and drop many small things on several threads, and the system's allocator costs a sixth more time for it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    weft::cli::main()
}
