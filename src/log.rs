//! The log: a reader of the journal, on a thread of its own, so that a slow terminal delays nobody's call.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::door::Door;
use crate::gateway::journal::Entry;
use crate::view;

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Tells the user what concerns the program itself, on stderr. Nobody reading it is no reason to end.
pub fn say(sentence: &str) {
    let _ = writeln!(std::io::stderr(), "kpay-sandbox: {sentence}");
}

/// A log that is being written, on a thread of its own: whoever reads it slowly delays no call.
#[derive(Debug)]
pub struct Writing {
    stop: tokio::sync::watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

impl Writing {
    /// Writes what happens behind `door` from now on.
    pub fn start(door: Arc<Door>, format: LogFormat, out: impl Write + Send + 'static) -> Writing {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::spawn(move || runtime.block_on(write(door, format, out, stopped)));
        Writing { stop, thread }
    }

    /// Ends it once everything is written.
    pub async fn end(self) {
        self.stop.send_replace(true);
        self.thread.thread().unpark();
        // A log that panicked has said so already.
        let _ = tokio::task::spawn_blocking(|| self.thread.join()).await;
    }
}

/// Entries are written together when they come faster than this: each round takes the processor from whoever has it.
const PAUSE: Duration = Duration::from_millis(20);

/// How many entries are copied at once: a log that was held up must not hold up the door when it goes on.
const BATCH: usize = 1000;

/// Writes the journal to `out` until `stop`; returns once everything has been written, or nobody reads any more. It
/// has its thread for itself.
async fn write(door: Arc<Door>, format: LogFormat, mut out: impl Write, mut stop: tokio::sync::watch::Receiver<bool>) {
    let mut journal = door.watch();
    let mut cursor = 0;
    loop {
        let ended = tokio::select! {
            () = journal.changed() => false,
            _ = stop.wait_for(|stop| *stop) => true,
        };
        if !ended {
            // Not by the runtime's timer, whose thread would have to be woken for it. The end of the log ends it too.
            std::thread::park_timeout(PAUSE);
        }
        loop {
            let entries: Vec<Entry> = door.read(|gateway| {
                let journal = gateway.journal();
                // Another world was restored: what happened there was told there.
                cursor = cursor.min(journal.last());
                journal.after(cursor).take(BATCH).cloned().collect()
            });
            // Whoever read us is gone: the sandbox goes on without a log.
            if out.write_all(&text(&entries, &mut cursor, format)).and_then(|()| out.flush()).is_err() {
                return;
            }
            if entries.len() < BATCH {
                break;
            }
        }
        if ended {
            return;
        }
    }
}

/// The lines of some entries; moves the cursor behind them.
fn text(entries: &[Entry], cursor: &mut u64, format: LogFormat) -> Vec<u8> {
    let mut text = String::with_capacity(entries.len() * 160);
    for entry in entries {
        if entry.number > *cursor + 1 {
            text += &view::lost(entry.number - *cursor - 1, format == LogFormat::Json);
        }
        *cursor = entry.number;
        match format {
            LogFormat::Text => view::write_line(entry, &mut text),
            LogFormat::Json => {
                text += &view::entry(entry).to_string();
                text.push('\n');
            }
        }
    }
    text.into_bytes()
}
