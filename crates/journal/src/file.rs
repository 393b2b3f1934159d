use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::counter::{Counter, SLOT_DISTANCE, SLOT_SIZE, slot_of, value_of};
use crate::flash::{Flash, Geometry};
use crate::region::Region;

/// A flash in a file, for Linux. One process at a time has it open.
#[derive(Debug)]
pub struct FileFlash {
    file: File,
    region: Region,
}

impl FileFlash {
    /// Creates an erased flash.
    ///
    /// # Errors
    /// The file exists already, cannot be made, or `geometry` suits no journal.
    pub fn create(path: &Path, geometry: Geometry) -> io::Result<Self> {
        let region = whole_file(geometry)?;
        let mut flash = Self { file: create_locked(path)?, region };
        flash.erase(0, geometry.capacity)?;
        flash.file.sync_all()?;
        sync_folder_of(path)?;
        Ok(flash)
    }

    /// Opens a flash that was [created](Self::create) with the same geometry.
    ///
    /// # Errors
    /// There is no such file, it has another size, or another process has it open.
    pub fn open(path: &Path, geometry: Geometry) -> io::Result<Self> {
        let region = whole_file(geometry)?;
        let file = open_locked(path)?;
        let length = file.metadata()?.len();
        if length != u64::from(geometry.capacity) {
            let what = format!("{}: {length} bytes long, expected {}", path.display(), geometry.capacity);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self { file, region })
    }
}

impl Flash for FileFlash {
    type Error = io::Error;

    fn geometry(&self) -> Geometry {
        self.region.geometry()
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> io::Result<()> {
        let place = self.region.to_read(offset, bytes.len()).ok_or_else(outside)?;
        self.file.read_exact_at(bytes, place.start.into())
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> io::Result<()> {
        let place = self.region.to_program(offset, bytes.len()).ok_or_else(outside)?;
        self.file.write_all_at(bytes, place.start.into())
    }

    fn erase(&mut self, offset: u32, length: u32) -> io::Result<()> {
        let page = vec![0xFF; self.geometry().erase_size as usize];
        let mut pages = self.region.to_erase(offset, length).ok_or_else(outside)?.step_by(page.len());
        pages.try_for_each(|start| self.file.write_all_at(&page, start.into()))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// A counter in a file: the model of a TPM or RPMB counter. It lies outside the folder that a backup would restore.
#[derive(Debug)]
pub struct FileCounter {
    file: File,
    value: u64,
    /// The slot that does not hold the value; a torn write there leaves the value.
    free_slot: u64,
}

impl FileCounter {
    /// Creates a counter that stands at 0.
    ///
    /// # Errors
    /// The file exists already or cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut counter = Self { file: create_locked(path)?, value: 0, free_slot: 0 };
        counter.write(0)?;
        counter.file.sync_all()?;
        sync_folder_of(path)?;
        Ok(counter)
    }

    /// Opens a counter that was [created](Self::create). A missing one is an error: starting anew would hide a loss.
    ///
    /// # Errors
    /// There is no such file, it holds no valid number, or another process has it open.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open_locked(path)?;
        let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
        let Some(value) = slots.into_iter().flatten().max() else {
            let what = format!("{}: damaged, neither slot holds a valid number", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        };
        // A killed process may have left the number readable and yet not durable.
        file.sync_data()?;
        Ok(Self { file, value, free_slot: u64::from(slots[0] == Some(value)) })
    }

    fn write(&mut self, value: u64) -> io::Result<()> {
        self.file.write_all_at(&slot_of(value), self.free_slot * u64::from(SLOT_DISTANCE))?;
        self.file.sync_data()?;
        self.value = value;
        self.free_slot = 1 - self.free_slot;
        Ok(())
    }
}

impl Counter for FileCounter {
    type Error = io::Error;

    fn value(&self) -> u64 {
        self.value
    }

    fn raise(&mut self, to: u64) -> io::Result<()> {
        if to > self.value { self.write(to) } else { Ok(()) }
    }
}

/// The number in a slot; `None` if it was torn or never written.
fn read_slot(file: &File, slot: u64) -> io::Result<Option<u64>> {
    let mut bytes = [0; SLOT_SIZE];
    match file.read_exact_at(&mut bytes, slot * u64::from(SLOT_DISTANCE)) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    Ok(value_of(&bytes))
}

/// The journal has the file to itself.
fn whole_file(geometry: Geometry) -> io::Result<Region> {
    let unfit = || io::Error::new(io::ErrorKind::InvalidInput, format!("no journal fits into {geometry:?}"));
    Region::new(0, geometry).ok_or_else(unfit)
}

fn outside() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "outside the journal's flash, or not whole units of it")
}

fn create_locked(path: &Path) -> io::Result<File> {
    lock(path, OpenOptions::new().read(true).write(true).create_new(true).open(path))
}

fn open_locked(path: &Path) -> io::Result<File> {
    lock(path, OpenOptions::new().read(true).write(true).open(path))
}

/// Locks what was opened, and names the file in whatever went wrong.
fn lock(path: &Path, opened: io::Result<File>) -> io::Result<File> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = opened.map_err(named)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(named(error)),
        Err(TryLockError::WouldBlock) => {
            Err(named(io::Error::new(io::ErrorKind::ResourceBusy, "in use by another process")))
        }
    }
}

/// Makes the name of a new file durable.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
