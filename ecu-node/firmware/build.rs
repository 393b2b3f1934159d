//! Links for the memory of QEMU's mps2-an386, which is more than is needed: how much it is, is what is asked. Makes the
//! largest genesis that there can be.

use std::path::{Path, PathBuf};
use std::{env, fs};

use device_chain::codec;
use device_chain::genesis::{
    Authority, AuthorityEntry, EndpointEntry, Genesis, Identifiers, Identity, Name, Policy, Role, SignedGenesis,
    Thresholds, ValidatorEntry, WIRE_VERSION,
};
use device_chain::limits::{MAX_AUTHORITIES, MAX_ENDPOINTS, MAX_NAME, MAX_VALIDATORS};
use device_chain::mac::Suite;
use device_chain::sign::SigningKey;
use device_chain::types::{Hash, PublicKey};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    // the stack goes down from the end of RAM; half a MiB below begins a second one, for images that have one
    let memory = "MEMORY { FLASH : ORIGIN = 0x00000000, LENGTH = 4M  RAM : ORIGIN = 0x21000000, LENGTH = 16M }\n\
                  _aside_start = ORIGIN(RAM) + LENGTH(RAM) - 512K;\n";
    fs::write(out.join("memory.x"), memory).expect("the build folder can be written");
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    write_genesis(&out);
}

/// The key of a device; the image makes the same.
fn key(kind: u8, at: usize) -> SigningKey {
    let mut seed = [kind; 32];
    seed[0] = at as u8;
    SigningKey::from_seed(seed)
}

/// A name as long as names may be.
fn name(kind: &str, at: usize) -> Name {
    let name = format!("{kind}-{at:0width$}", width = MAX_NAME - kind.len() - 1);
    Name::try_from(name.as_str()).expect("as long as names may be")
}

/// `genesis.bin` and `maker.pub`: every list full, the first authority the fleet.
fn write_genesis(out: &Path) {
    let validator = |at: usize| {
        let id = at as u32;
        let identifiers = Identifiers { vote: 0x10 + id, propose: 0x20 + id, control: 0x30 + id, bulk: 0x40 + id };
        let role = if at == 0 { Role::Gateway } else { Role::Other };
        ValidatorEntry {
            name: name("validator", at),
            role,
            key: key(1, at).public(),
            firmware: Hash([at as u8; 32]),
            identifiers,
        }
    };
    let endpoint = |at: usize| {
        let mut public = [0xe0; 32]; // no key pair: nothing is agreed with it here
        public[0] = at as u8;
        EndpointEntry {
            name: name("endpoint", at),
            identity: Identity::A(PublicKey(public)),
            firmware: Hash([0x77; 32]),
            identifier: 0x9000_0000 + at as u32,
        }
    };
    let authority = |at: usize| {
        let authority = if at == 0 { Authority::Fleet } else { Authority::Archive };
        AuthorityEntry { authority, key: key(3, at).public() }
    };
    let genesis = Genesis {
        version: WIRE_VERSION,
        suite: Suite::Cmac, // its tags take more of the stack
        vehicle: name("vehicle", 0),
        made_ms: 1_790_000_000_000,
        validators: (0..MAX_VALIDATORS).map(validator).collect(),
        endpoints: (0..MAX_ENDPOINTS).map(endpoint).collect(),
        authorities: (0..MAX_AUTHORITIES).map(authority).collect(),
        policy: Policy { phase_us: 10_000, heartbeat_us: 100_000, thresholds: Thresholds::ONE },
    };
    genesis.check().expect("a genesis by the rules");
    let maker = key(4, 0);
    let mut buffer = vec![0; 64 * 1024];
    let signed = SignedGenesis::sign(genesis, &maker);
    let bytes = codec::encode(&signed, &mut buffer).expect("the buffer is long enough");
    fs::write(out.join("genesis.bin"), bytes).expect("the build folder can be written");
    fs::write(out.join("maker.pub"), maker.public().0).expect("the build folder can be written");
}
