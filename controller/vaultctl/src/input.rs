//! Manifests on the way in: `-f FILE|DIR|-` to documents and located problems.

mod field;
mod vars;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use vault_api::check::Document;
use vault_api::manifest::{LocatedDocument, MANIFEST_BYTES_MAX, read_manifest};
use vault_api::problem::{Problem, ProblemKind};
use vault_api::set::check_set;

use crate::error::{Exit, Failure, Tally};
use crate::object::{Object, Reference, Resource};
use crate::output::Output;

pub(crate) use vars::{Var, var};

/// How standard input is called in problems.
const STANDARD_INPUT: &str = "<stdin>";

/// All documents of a command line, and all that is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// What can be used, in the order of the files.
    pub(crate) documents: Vec<InputDocument>,
    problems: Vec<String>,
}

/// One document that can be used.
#[derive(Debug)]
pub(crate) struct InputDocument {
    /// Which object it is about.
    pub(crate) reference: Reference,
    /// The document as it is sent.
    pub(crate) object: Object,
    place: LocatedDocument,
}

impl Input {
    /// Prints what is wrong and counts it.
    pub(crate) fn report(&self, output: &mut Output, tally: &mut Tally) {
        for problem in &self.problems {
            output.note(problem);
            tally.failed(Exit::BadInput);
        }
    }

    /// The names of the classes that stand in the input.
    pub(crate) fn classes(&self) -> Vec<String> {
        self.documents
            .iter()
            .filter(|document| document.reference.resource == Resource::TenantClass)
            .map(|document| document.reference.name.clone())
            .collect()
    }
}

impl InputDocument {
    /// A message about a field, as the controller names it, at the field's place in the file.
    pub(crate) fn located(&self, field: &str, message: &str) -> String {
        let problem = Problem::invalid(field::parse(field), message);
        self.place.problem(&problem).to_string()
    }

    /// The class that a tenant names.
    pub(crate) fn class(&self) -> Option<Reference> {
        let Document::Tenant(tenant) = &self.place.document else {
            return None;
        };
        Some(Reference { resource: Resource::TenantClass, name: tenant.spec.class.clone()? })
    }
}

/// Reads everything that the command line names. What cannot be read or used becomes a problem
/// beside the good documents.
///
/// # Errors
/// Standard input is named twice, or there is no document at all, good or bad.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Input> {
    if paths.iter().filter(|path| is_standard_input(path)).count() > 1 {
        return Err(Failure::new(Exit::BadInput, "standard input can be read only once").into());
    }
    let mut problems = Vec::new();
    let (mut documents, mut refused) = (Vec::new(), Vec::new());
    for path in paths {
        for (name, bytes) in contents(path, &mut problems) {
            let reading = read_manifest(&name, &bytes);
            problems.extend(reading.problems.iter().map(ToString::to_string));
            documents.extend(reading.documents);
            refused.extend(reading.refused);
        }
    }
    if documents.is_empty() && problems.is_empty() {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let message = format!("there is no document in {}", names.join(", "));
        return Err(Failure::new(Exit::BadInput, message).into());
    }
    let clashing = clashes(&documents, &mut problems);
    let usable = documents.into_iter().enumerate();
    let documents = usable
        .filter(|(index, _)| !clashing.contains(index))
        .map(|(_, place)| document(place))
        .collect::<Result<_, serde_json::Error>>()?;
    Ok(Input { documents, problems })
}

/// A file, or standard input, as text.
///
/// # Errors
/// It cannot be read, is too long, or is no UTF-8.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    let bytes = match is_standard_input(path) {
        true => bounded(io::stdin().lock())?,
        false => open(path)?,
    };
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {MANIFEST_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The documents that say something twice: the same object, or one app for two tenants. Whether a
/// class exists is for the controller to say, which knows those that are not in these files.
fn clashes(documents: &[LocatedDocument], problems: &mut Vec<String>) -> Vec<usize> {
    let plain: Vec<&Document> = documents.iter().map(|located| &located.document).collect();
    let mut clashing = Vec::new();
    for found in check_set(&plain, &[], &[]) {
        if found.problem.kind == ProblemKind::Duplicate {
            let mut problem = documents[found.document].problem(&found.problem);
            if let Some(first) = found.first.map(|first| &documents[first]) {
                let at = first.locate(&found.problem.path);
                let place = format!("{}:{}:{}", first.file(), at.line, at.column);
                problem.message.push_str(&format!("; the first is at {place}"));
            }
            problems.push(problem.to_string());
            clashing.push(found.document);
        }
    }
    clashing
}

fn document(place: LocatedDocument) -> Result<InputDocument, serde_json::Error> {
    let (resource, value) = match &place.document {
        Document::Tenant(tenant) => (Resource::Tenant, serde_json::to_value(tenant)?),
        Document::TenantClass(class) => (Resource::TenantClass, serde_json::to_value(class)?),
    };
    Ok(InputDocument {
        reference: Reference { resource, name: place.document.name().to_owned() },
        object: Object(value),
        place,
    })
}

/// The files behind a path, each with the name to show; what cannot be read becomes a problem.
fn contents(path: &Path, problems: &mut Vec<String>) -> Vec<(String, Vec<u8>)> {
    if is_standard_input(path) {
        return collect(STANDARD_INPUT, bounded(io::stdin().lock()), problems);
    }
    if !path.is_dir() {
        return collect(&path.display().to_string(), open(path), problems);
    }
    let files = match manifests_in(path) {
        Ok(files) => files,
        Err(error) => return collect(&path.display().to_string(), Err(error), problems),
    };
    if files.is_empty() {
        problems
            .push(located(&path.display().to_string(), "the folder holds no *.yaml or *.yml file"));
    }
    files
        .iter()
        .flat_map(|file| collect(&file.display().to_string(), open(file), problems))
        .collect()
}

fn collect(
    name: &str,
    bytes: io::Result<Vec<u8>>,
    problems: &mut Vec<String>,
) -> Vec<(String, Vec<u8>)> {
    match bytes {
        Ok(bytes) => vec![(name.to_owned(), bytes)],
        Err(error) => {
            problems.push(located(name, &format!("cannot be read: {error}")));
            Vec::new()
        }
    }
}

/// What is wrong with a whole file is told at its beginning.
fn located(name: &str, message: &str) -> String {
    format!("{name}:1:1: {message}")
}

fn open(path: &Path) -> io::Result<Vec<u8>> {
    bounded(File::open(path)?)
}

/// One byte more than is allowed, so that the reader sees that it is too much and says so.
fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MANIFEST_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The manifests that lie flat in a folder, in the order of their names; hidden files are none.
fn manifests_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_manifest =
            path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_manifest && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACME: &str = "apiVersion: vaultctl.dev/v1\nkind: Tenant\nmetadata: { name: acme }\nspec:\n  class: dev-box\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_is_its_manifests_in_order() {
        let umbra = ACME.replace("acme", "umbra");
        let folder = folder(&[
            ("b.yml", ACME),
            ("a.yaml", &umbra),
            (".hidden.yaml", "kind: ["),
            ("notes.txt", "kind: ["),
        ]);
        let input = read(&[folder.path().to_owned()]).unwrap();
        assert!(input.problems.is_empty(), "{:?}", input.problems);
        let names: Vec<String> =
            input.documents.iter().map(|document| document.reference.to_string()).collect();
        assert_eq!(names, ["tenant/umbra", "tenant/acme"]);
        assert_eq!(input.documents[1].class().unwrap().to_string(), "tenantclass/dev-box");
    }

    #[test]
    fn problems_stand_beside_the_good_documents() {
        let folder = folder(&[("a.yaml", ACME), ("b.yaml", "kind: [\n"), ("c.yaml", ACME)]);
        let absent = folder.path().join("absent");
        let input = read(&[folder.path().to_owned(), absent]).unwrap();
        assert_eq!(input.documents.len(), 1);
        let all = input.problems.join("\n");
        for part in ["b.yaml:", "c.yaml:3:", "absent:1:1: cannot be read: "] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }

    #[test]
    fn the_controllers_fields_are_found_in_the_file() {
        let folder = folder(&[("a.yaml", ACME)]);
        let input = read(&[folder.path().join("a.yaml")]).unwrap();
        let text = input.documents[0].located("spec.class", "no such class");
        assert!(text.contains("a.yaml:5:10: no such class"), "{text}");
        let text = input.documents[0].located("status.absent", "what?");
        assert!(text.contains("a.yaml:1:1: what?"), "{text}");
    }

    #[test]
    fn nothing_at_all_is_an_error() {
        let folder = folder(&[("a.yaml", "# nothing\n")]);
        assert!(read(&[folder.path().to_owned()]).is_err());
        let empty = tempfile::tempdir().unwrap();
        let input = read(&[empty.path().to_owned()]).unwrap();
        assert!(input.problems[0].ends_with(":1:1: the folder holds no *.yaml or *.yml file"));
        assert!(read(&["-".into(), "-".into()]).is_err());
    }
}
