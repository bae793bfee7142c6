//! The only place that prints: results on stdout, notes and progress on stderr.
//!
//! Colours appear on terminals alone and obey `NO_COLOR`. A reader that goes away (`| head`) is no
//! error: what follows is dropped, and the command goes on to its end.

pub(crate) mod custom;
pub(crate) mod describe;
pub(crate) mod events;
pub(crate) mod format;
pub(crate) mod jsonpath;
#[cfg(feature = "dev")]
pub(crate) mod live;
pub(crate) mod order;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod tables;

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use anstream::AutoStream;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::format::DataFormat;
use crate::object::Object;

/// How often the progress line moves.
const TICK: Duration = Duration::from_millis(120);
/// Longer than any line, so that strings are folded at their own line ends only.
const NEVER_FOLD: usize = 1 << 20;

/// Whether one object was asked for by name, or any number of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The object itself is the document.
    One,
    /// A `List` is the document, even if it holds one object or none.
    Many,
}

/// The two streams of this program.
pub(crate) struct Output {
    stdout: AutoStream<io::Stdout>,
    stderr: AutoStream<io::Stderr>,
    reader_left: bool,
}

impl Output {
    /// The process's own streams.
    pub(crate) fn new() -> Self {
        Self { stdout: anstream::stdout(), stderr: anstream::stderr(), reader_left: false }
    }

    /// Prints a line of the result.
    ///
    /// # Errors
    /// The stream cannot be written; that nobody reads it any more is none.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.text(&format!("{text}\n"))
    }

    /// Prints a piece of the result as it is.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        if self.reader_left {
            return Ok(());
        }
        let written = self.stdout.write_all(text.as_bytes());
        match written.and_then(|()| self.stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.reader_left = true;
                Ok(())
            }
            other => other,
        }
    }

    /// Whether whoever reads the result has gone; what is printed now is dropped.
    pub(crate) fn is_unread(&self) -> bool {
        self.reader_left
    }

    /// Says something beside the result. There is nowhere to complain when stderr is closed.
    pub(crate) fn note(&mut self, text: &str) {
        writeln!(self.stderr, "{text}").ok();
    }

    /// Asks on the terminal and reads one line.
    ///
    /// # Errors
    /// The answer cannot be read.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<String> {
        write!(self.stderr, "{question} ").ok();
        self.stderr.flush().ok();
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    /// Whether a person sits there to answer a question.
    pub(crate) fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// A line that moves while something takes long; shown on terminals alone.
    pub(crate) fn progress(&self, message: &str) -> Progress {
        let bar = if io::stderr().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(message.to_owned());
        bar.enable_steady_tick(TICK);
        Progress(bar)
    }

    /// Prints objects in one of the forms for programs.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub(crate) fn objects(
        &mut self,
        format: &DataFormat,
        objects: &[Object],
        shape: Shape,
    ) -> anyhow::Result<()> {
        match format {
            DataFormat::Name => {
                for object in objects {
                    self.line(&object.reference())?;
                }
            }
            DataFormat::Json => self.text(&json(&document(objects, shape))?)?,
            DataFormat::Yaml => self.text(&yaml(&document(objects, shape))?)?,
            DataFormat::JsonPath(template) => {
                self.text(&template.render(&document(objects, shape)))?;
            }
        }
        Ok(())
    }
}

/// A progress line; it goes away when this is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// No line: for what takes place beside what the person waits for.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Prints beside the line, which makes room meanwhile.
    #[cfg(feature = "dev")]
    pub(crate) fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    /// Replaces the text.
    pub(crate) fn say(&self, message: String) {
        self.0.set_message(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A value as indented JSON with a line end.
///
/// # Errors
/// The value has no form in JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// A value as block YAML with a line end.
///
/// # Errors
/// The value has no form in YAML.
pub(crate) fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: NEVER_FOLD };
    let text = serde_saphyr::to_string_with_options(value, options)?;
    Ok(format!("{}\n", text.trim_end_matches('\n')))
}

fn document(objects: &[Object], shape: Shape) -> serde_json::Value {
    match (shape, objects) {
        (Shape::One, [object]) => object.0.clone(),
        _ => serde_json::json!({
            "apiVersion": "v1",
            "kind": "List",
            "metadata": { "resourceVersion": "" },
            "items": objects,
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_named_object_is_the_document_and_several_are_a_list() {
        let objects = [Object(json!({ "kind": "Tenant" }))];
        assert_eq!(document(&objects, Shape::One), json!({ "kind": "Tenant" }));
        let list = document(&objects, Shape::Many);
        assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("List"), &json!("v1")));
        assert_eq!(list["items"], json!([{ "kind": "Tenant" }]));
        assert_eq!(document(&[], Shape::Many)["items"], json!([]));
    }

    #[test]
    fn yaml_keeps_long_strings_on_one_line_and_reads_back() {
        let long = "word ".repeat(40);
        let value =
            json!({ "long": long, "lines": "a\nb\n", "yes": "yes", "none": {}, "list": ["1"] });
        let text = yaml(&value).unwrap();
        assert!(text.lines().any(|line| line.contains(long.trim_end())), "{text}");
        assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
