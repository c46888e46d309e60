//! Golden cases: one file holds the documents of a deployment and what is said about them.
//!
//! A case is text with sections that start at `=== <path>`; the last one, `=== expected`, is what
//! the case is compared with and what `UPDATE_GOLDEN=1` rewrites.

use jaco_manifest::{
    FileKind, Files, Input, LoadOptions, Loaded, MemFiles, Outcome, PathKind, Problem, Problems,
    compile, load,
};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The directory that the documents of a case stand in.
pub(crate) const PROJECT: &str = "/project/app";

/// One case on disk.
pub(crate) struct Case {
    path: PathBuf,
    /// Documents by path relative to [`PROJECT`].
    pub(crate) documents: Vec<(String, String)>,
    expected: String,
}

impl Case {
    /// All cases of a directory below `testdata`, by name.
    pub(crate) fn all(directory: &str) -> Vec<Case> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(directory);
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.into_iter().map(Case::read).collect()
    }

    fn read(path: PathBuf) -> Case {
        let text = fs::read_to_string(&path).unwrap();
        let mut documents: Vec<(String, String)> = Vec::new();
        for line in text.split_inclusive('\n') {
            match line.strip_prefix("=== ") {
                Some(name) => documents.push((name.trim().to_owned(), String::new())),
                None => documents.last_mut().expect("a case starts with ===").1.push_str(line),
            }
        }
        let expected = documents.pop_if(|(name, _)| name == "expected");
        Case { path, documents, expected: expected.map(|(_, text)| text).unwrap_or_default() }
    }

    /// The file name without its ending.
    pub(crate) fn name(&self) -> String {
        self.path.file_stem().unwrap().to_string_lossy().into_owned()
    }

    /// Compares, or rewrites when `UPDATE_GOLDEN` is set. The fault, if there is one.
    pub(crate) fn check(&self, actual: &str) -> Result<(), String> {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let mut text = String::new();
            for (name, document) in &self.documents {
                write!(text, "=== {name}\n{document}").unwrap();
            }
            write!(text, "=== expected\n{actual}").unwrap();
            fs::write(&self.path, text).unwrap();
            return Ok(());
        }
        if self.expected == actual {
            return Ok(());
        }
        Err(format!("{}\n--- expected\n{}--- actual\n{actual}", self.name(), self.expected))
    }

    /// The documents as files.
    pub(crate) fn files(&self) -> MemFiles {
        let mut files = MemFiles::default();
        files.add_directory(PROJECT);
        for (name, text) in &self.documents {
            let path = Path::new(PROJECT).join(name);
            match name.strip_suffix('/') {
                Some(_) => files.add_directory(path),
                None => files.add(path, text.as_bytes()),
            }
        }
        files
    }
}

/// Loads what stands in [`PROJECT`].
pub(crate) fn load_project(files: &MemFiles) -> Result<Loaded, Problems> {
    let options =
        LoadOptions { path: PROJECT.into(), current_dir: PROJECT.into(), ..LoadOptions::default() };
    load(&options, files)
}

/// Compiles what was loaded, as the client does.
pub(crate) fn compile_loaded(loaded: &Loaded, files: &MemFiles) -> Outcome {
    let look = |path: &str| {
        let path = loaded.compose_dir.join(path);
        match files.kind(&path) {
            Ok(FileKind::Missing) => PathKind::Missing,
            Ok(FileKind::File) => PathKind::File(files.read(&path).unwrap().len() as u64),
            Ok(FileKind::Directory) if files.is_dir_empty(&path).unwrap() => PathKind::EmptyDir,
            Ok(FileKind::Directory) => PathKind::NonEmptyDir,
            Ok(FileKind::Other) | Err(_) => PathKind::Other,
        }
    };
    let mut input = Input::new(&loaded.compose, loaded.problems.files.clone());
    input.overlay = loaded.overlay.as_ref();
    input.name = Some(loaded.name.name.as_str());
    input.look = Some(&look);
    input.disabled = loaded.disabled_services.iter().cloned().collect();
    compile(&input)
}

/// All problems as the text of a golden file.
pub(crate) fn describe(problems: &Problems, later: &[Problem]) -> String {
    let mut text = String::new();
    for problem in &problems.errors {
        let reason = problem.reason.map(|reason| format!("/{}", reason.as_str()));
        let code = format!("{}{}", problem.code, reason.unwrap_or_default());
        line(&mut text, &format!("error[{code}]"), problem, problems);
    }
    for problem in &problems.warnings {
        line(&mut text, "warning", problem, problems);
    }
    for problem in later {
        line(&mut text, "later", problem, problems);
    }
    text
}

fn line(text: &mut String, kind: &str, problem: &Problem, problems: &Problems) {
    let file = problems.file(problem.at.file);
    writeln!(text, "{kind}: {}", problem.text(file)).unwrap();
    for (key, value) in &problem.details {
        writeln!(text, "    {key}: {value}").unwrap();
    }
}
