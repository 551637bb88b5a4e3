//! `autoconnect`: reports on a dealer's transactions. See `autoconnect --help`.

fn main() -> std::process::ExitCode {
    autoconnect::main()
}
