//! What is typed behind `cargo xtask fleet`.

/// What `fleet` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Debian's release that programs are taken from. This machine's, if it is a Debian
    #[arg(long)]
    pub(crate) suite: Option<String>,
    /// A mirror of Debian's archive; without it, the one that this machine's apt uses
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
}
