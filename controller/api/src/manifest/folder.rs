//! Several manifest files together.

use super::located::LocatedProblem;
use super::{ManifestReading, RefusedDocument};
use crate::check::{Document, DocumentKind};
use crate::set::check_set;

/// A problem that only the files together show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderProblem {
    /// Which reading, from 0.
    pub reading: usize,
    /// Which of its documents, from 0. It must not be used.
    pub document: usize,
    /// What and where.
    pub problem: LocatedProblem,
}

/// Checks all files of a folder together, and against what is `known` from elsewhere: see
/// [`check_set`]. Problems come in the order of files and documents.
#[must_use]
pub fn check_folder(readings: &[ManifestReading], known: &[&Document]) -> Vec<FolderProblem> {
    let mut places = Vec::new();
    let mut documents = Vec::new();
    for (reading, read) in readings.iter().enumerate() {
        for (document, located) in read.documents.iter().enumerate() {
            places.push((reading, document, located));
            documents.push(&located.document);
        }
    }
    let refused: Vec<&str> =
        readings.iter().flat_map(|reading| &reading.refused).filter_map(refused_class).collect();
    let found = check_set(&documents, known, &refused);
    let mut located: Vec<FolderProblem> = found
        .iter()
        .map(|found| {
            let (reading, document, place) = places[found.document];
            let mut problem = place.problem(&found.problem);
            if let Some(first) = found.first {
                let (_, _, first) = places[first];
                let at = first.locate(&found.problem.path);
                let first = format!("{}:{}:{}", first.file(), at.line, at.column);
                problem.message = format!("{}; the first is at {first}", problem.message);
            }
            FolderProblem { reading, document, problem }
        })
        .collect();
    located.sort_by_key(|found| (found.reading, found.problem.location));
    located
}

fn refused_class(refused: &RefusedDocument) -> Option<&str> {
    (refused.kind == DocumentKind::TenantClass).then_some(refused.name.as_str())
}
