//! PidFile: where scripts find the pid of a supervisor that was started as `haproxy`.
//!
//! Rule: it is replaced as a whole, by a new file beside it. A link at its path is replaced and not followed, since in
//! a directory such as /tmp any user can have made it. /dev/null stays, and gets nothing.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// The file at this path.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Looks whether it can be written, and leaves what is there.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let new = Self(path.to_owned());
        match fs::symlink_metadata(path) {
            Ok(facts) if facts.file_type().is_char_device() => return Ok(new),
            Ok(facts) if !facts.is_file() && !facts.is_symlink() => {
                return Err(io::Error::other("it is there and no regular file"));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        new.create()?;
        fs::remove_file(new.temporary())?;
        Ok(new)
    }

    /// Writes the pid of this process.
    pub(crate) fn write(&self) -> io::Result<()> {
        if fs::symlink_metadata(&self.0).is_ok_and(|facts| facts.file_type().is_char_device()) {
            return Ok(());
        }
        let written = self.create().and_then(|mut file| {
            file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
            fs::rename(self.temporary(), &self.0)
        });
        if written.is_err() {
            fs::remove_file(self.temporary()).ok();
        }
        written
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A new file, never what a link leads to. One of that name was left by a dead process of the same pid.
    fn create(&self) -> io::Result<File> {
        match File::create_new(self.temporary()) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_file(self.temporary())?;
                File::create_new(self.temporary())
            }
            created => created,
        }
    }

    fn temporary(&self) -> PathBuf {
        let mut name = self.0.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_replaced_and_what_it_leads_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("pid"), dir.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        symlink(&victim, PidFile(path.clone()).temporary()).unwrap();
        let file = PidFile::at(&path).unwrap();
        assert!(path.is_symlink());
        for _ in 0..2 {
            file.write().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_directory_and_one_that_is_missing_are_refused_and_devices_stay() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path(), &dir.path().join("none/pid")] {
            assert!(PidFile::at(path).is_err(), "{}", path.display());
        }
        PidFile::at(Path::new("/dev/null")).unwrap().write().unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
}
