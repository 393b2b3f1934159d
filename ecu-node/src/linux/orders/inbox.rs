//! Orders put into the folder `orders` of a node's folder: taken one by one, each named for what became of it.

use std::fs;
use std::path::{Path, PathBuf};

use device_chain::order::Endorsement;
use device_chain::types::MeshId;
use tracing::{info, warn};

use super::OrderFile;

/// Files looked at in one go; the others wait.
const MAX_FILES: usize = 4;

/// The folder of a node's folder.
#[must_use]
pub fn folder(state: &Path) -> PathBuf {
    state.join("orders")
}

/// Takes the files ending in `.order` and names them `.given`, or `.refused` if they are no orders for this car.
pub fn take(state: &Path, mesh: &MeshId) -> Vec<Endorsement> {
    let Ok(entries) = fs::read_dir(folder(state)) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let waiting = paths.filter(|path| path.extension().is_some_and(|extension| extension == "order"));
    waiting.take(MAX_FILES).flat_map(|path| take_one(&path, mesh)).collect()
}

fn take_one(path: &Path, mesh: &MeshId) -> Vec<Endorsement> {
    let read = OrderFile::read(path).and_then(|file| {
        anyhow::ensure!(file.mesh == *mesh, "it is for the car {}, this one is {}", file.mesh.0, mesh.0);
        Ok(file)
    });
    // renamed first: what is given twice is harmless, what is read for ever is not
    let fate = if read.is_ok() { "given" } else { "refused" };
    if let Err(error) = fs::rename(path, path.with_extension(fate)) {
        warn!("{}: cannot be renamed and is left alone: {error}", path.display());
        return Vec::new();
    }
    match read {
        Ok(file) => {
            let (change, signatures) = (file.order.change.name(), file.signatures.len());
            info!(change, signatures, digest = ?file.order.digest(mesh), "order {}", path.display());
            file.endorsements().collect()
        }
        Err(error) => {
            warn!("order refused: {error:#}");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use device_chain::order::{Change, Order, Signer};
    use device_chain::sign::SigningKey;
    use device_chain::types::Hash;

    use super::*;

    #[test]
    fn each_file_is_taken_once_and_named_for_what_became_of_it() {
        let state = tempfile::tempdir().unwrap();
        let mesh = MeshId(Hash([1; 32]));
        assert!(take(state.path(), &mesh).is_empty(), "no folder");
        fs::create_dir(folder(state.path())).unwrap();
        let order = Order { change: Change::Reset, generation: 0, not_after: 9 };
        let mut own = OrderFile { mesh, order, signatures: Vec::new() };
        own.sign(Signer::Authority(0), &SigningKey::from_seed([2; 32])).unwrap();
        let foreign = OrderFile { mesh: MeshId(Hash([7; 32])), ..own.clone() };
        for (name, bytes) in [
            ("own.order", own.encode()),
            ("foreign.order", foreign.encode()),
            ("damaged.order", b"RINGORD".to_vec()),
            ("other.txt", b"x".to_vec()),
        ] {
            fs::write(folder(state.path()).join(name), bytes).unwrap();
        }
        assert_eq!(take(state.path(), &mesh), own.endorsements().collect::<Vec<_>>());
        assert!(take(state.path(), &mesh).is_empty(), "once");
        for name in ["own.given", "foreign.refused", "damaged.refused", "other.txt"] {
            assert!(folder(state.path()).join(name).exists(), "{name}");
        }
    }
}
