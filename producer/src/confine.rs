//! Confines the inputs of a request to one folder: the right to send requests is not a right to read every file of the
//! machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use autoconnect_common::CutError;

/// Refuses a request unless each of its inputs, with links resolved, is a file or folder in `data`, and so is every entry
/// of such a folder. The refusal is the same whether such a file exists or not.
///
/// # Errors
/// [`CutError::Refused`].
pub fn check(inputs: &[PathBuf], data: &Path) -> Result<(), CutError> {
    let root = data.canonicalize().map_err(|source| CutError::Failed {
        what: "the producer's data folder cannot be looked at".to_owned(),
        source,
    })?;
    match inputs.iter().find(|input| !is_inside(input, &root)) {
        None => Ok(()),
        Some(outside) => {
            let shown: String = outside.display().to_string().chars().take(200).collect();
            Err(CutError::Refused(format!(
                "input {shown:?}: expected a file or folder inside the producer's data folder, and no link out of it"
            )))
        }
    }
}

fn is_inside(input: &Path, root: &Path) -> bool {
    let Ok(real) = input.canonicalize() else {
        return false;
    };
    let all_inside = |folder: &Path| -> io::Result<bool> {
        for entry in fs::read_dir(folder)? {
            if !entry?.path().canonicalize()?.starts_with(root) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    // a cut reads `-` as standard input, also where a file has that name
    input.as_os_str() != "-"
        && real.starts_with(root)
        && (!real.is_dir() || all_inside(&real).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_really_is_in_the_folder_may_be_read() -> io::Result<()> {
        let place = tempfile::tempdir()?;
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("data/in"))?;
        fs::create_dir_all(at("data/mixed"))?;
        fs::create_dir_all(at("data-too"))?;
        for file in [
            "data/a.csv",
            "data/in/b.csv",
            "data/mixed/c.csv",
            "secret.csv",
            "data-too/d.csv",
        ] {
            fs::write(at(file), "id")?;
        }
        std::os::unix::fs::symlink(at("secret.csv"), at("data/link.csv"))?;
        std::os::unix::fs::symlink(at("secret.csv"), at("data/mixed/link.csv"))?;
        std::os::unix::fs::symlink(at("data/a.csv"), at("data/in/fine.csv"))?;
        std::os::unix::fs::symlink(at("data-too"), at("data/folder"))?;
        let said = |input: PathBuf| check(&[at("data/a.csv"), input], &at("data"));
        for inside in [
            "data/a.csv",
            "data/in",
            "data/in/fine.csv",
            "data/in/../a.csv",
        ] {
            assert!(said(at(inside)).is_ok(), "{inside}");
        }
        for outside in [
            "secret.csv",
            "data/../secret.csv",
            "data/link.csv",
            "data/folder",
            "data/folder/d.csv",
            "data/mixed",
            "data-too/d.csv",
            "data/none.csv",
            "none.csv",
        ] {
            let refused = said(at(outside)).expect_err(outside).to_string();
            let expected = format!(
                "input {:?}: expected a file or folder inside the producer's data folder, and no link out of it",
                at(outside)
            );
            assert_eq!(refused, expected);
        }
        assert!(said("-".into()).is_err());
        assert!(check(&[at("data/a.csv")], &at("nowhere")).is_err());
        Ok(())
    }
}
