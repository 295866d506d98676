//! `lb counters` and its command.

/// Let counters begin anew
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Programs that draw graphs expect totals that never fall: clear these only for a
measurement of your own.

Examples:
  lb counters clear          the maxima: sessions, queue, rate, times
  lb counters clear --all    all totals and times, too")]
pub(crate) struct CountersArgs {
    #[command(subcommand)]
    pub(crate) command: CountersCommand,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum CountersCommand {
    /// Forget the maxima
    Clear {
        /// Set the totals and times to 0, too
        #[arg(long)]
        all: bool,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
}
