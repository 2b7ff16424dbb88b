//! Progress of long work, on standard error; nothing is shown if that is no terminal.

use std::borrow::Cow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar is redrawn at least.
const TICK: Duration = Duration::from_millis(100);

/// A bar over `total` bytes of a file.
pub(crate) fn bytes(total: u64, label: &str) -> ProgressBar {
    bar(total, label, "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta}")
}

/// A bar over `total` things.
pub(crate) fn count(total: u64, label: &str) -> ProgressBar {
    bar(total, label, "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}")
}

/// A spinner for work whose length is not known.
pub(crate) fn spinner(label: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.set_message(label.to_owned());
    spinner.enable_steady_tick(TICK);
    spinner
}

fn bar(total: u64, label: &str, template: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(Cow::Owned(label.to_owned()));
    bar.enable_steady_tick(TICK);
    bar
}
