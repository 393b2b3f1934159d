//! The life of a car: orders made at a desk, signed where the keys are, brought to one ECU, decided by all (DC-46).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cloud_link::wire::Action;
use device_chain::genesis::Role;
use ecu_node::linux::orders::RegistryView;

use super::PATIENCE;
use super::ride::approve;
use crate::args;
use crate::car::{Car, with_authorities};
use crate::process::{program, run};

/// Where the keys outside the car are: those of its maker, of a workshop, of its owner and of who buys it.
pub struct Desk {
    folder: PathBuf,
    orders: usize,
}

impl Desk {
    /// Makes the keys in a folder, and a configuration of a car that knows all but the buyer's; returns its path, too.
    ///
    /// # Errors
    /// Keys or configuration cannot be made.
    pub fn make(source: &Path, folder: &Path) -> Result<(Self, PathBuf)> {
        let desk = Self { folder: folder.to_owned(), orders: 0 };
        let mut keys = Vec::new();
        for who in ["maker", "workshop", "owner", "buyer"] {
            let public = run(&program("ecu-node")?, args!["order", "key", "--out", desk.secret(who).display()])?;
            fs::write(desk.public(who), &public)?;
            keys.push((who, public.trim().to_owned()));
        }
        let known: Vec<_> = keys[..3].iter().map(|(who, key)| (*who, &**key)).collect();
        let config = with_authorities(source, &known, folder)?;
        Ok((desk, config))
    }

    fn secret(&self, who: &str) -> PathBuf {
        self.folder.join(format!("{who}.secret"))
    }

    fn public(&self, who: &str) -> PathBuf {
        self.folder.join(format!("{who}.pub"))
    }

    /// Makes an order for the car as `ecu` shows it and has it signed: by the key at the place of a role, or by the buyer as the newcomer.
    fn order(&mut self, car: &Car, ecu: &str, change: &[String], signers: &[&str]) -> Result<PathBuf> {
        self.orders += 1;
        let order = self.folder.join(format!("{}.order", self.orders));
        let state = car.paths(ecu).state;
        let make = args!["order", "make", "--state", state.display(), "--out", order.display()];
        run(&program("ecu-node")?, &[make, change].concat())?;
        for who in signers {
            let place = registry(car, ecu)?.authorities.into_iter().find(|known| known.role == *who);
            let signer = match place {
                Some(known) => ["--authority".to_owned(), known.place.to_string()].to_vec(),
                None => vec!["--newcomer".to_owned()],
            };
            let sign = args!["order", "sign", order.display(), "--key", self.secret(who).display()];
            run(&program("ecu-node")?, &[sign, &signer].concat())?;
        }
        Ok(order)
    }
}

fn give(car: &Car, ecu: &str, order: &Path) -> Result<()> {
    run(&program("ecu-node")?, args!["order", "give", order.display(), "--state", car.paths(ecu).state.display()])?;
    Ok(())
}

/// The registry as an ECU shows it.
fn registry(car: &Car, ecu: &str) -> Result<RegistryView> {
    let shown = run(&program("ecu-node")?, args!["registry", "--state", car.paths(ecu).state.display(), "--json"])?;
    serde_json::from_str(&shown).context("ecu-node registry --json")
}

/// Waits until all of them show a registry as it is to be.
fn wait_for_all(car: &mut Car, ecus: &[String], what: &str, is: impl Fn(&RegistryView) -> bool) -> Result<()> {
    for ecu in ecus {
        car.wait_for(&format!("{what} at {ecu}"), PATIENCE, |car| {
            let shown = registry(car, ecu)?;
            ensure!(is(&shown), "height {}, generation {}, {:?}", shown.height, shown.generation, shown.authorities);
            Ok(())
        })?;
    }
    Ok(())
}

/// The maker revokes a validator. All the others show it, do not hear it any more, and go on approving.
///
/// # Errors
/// It is not decided, or nothing is approved after it.
pub fn revoked(car: &mut Car, desk: &mut Desk) -> Result<String> {
    let (_, thief) = car.with_role(Role::Battery)?;
    let (_, ecu) = car.with_role(Role::Chassis)?;
    let order = desk.order(car, &ecu, args!["revoke", "--device", thief], &["maker"])?;
    give(car, &ecu, &order)?;
    let others: Vec<_> = car.validators().into_iter().filter(|name| *name != thief).collect();
    let is_revoked = |shown: &RegistryView| shown.device(&thief).is_ok_and(|(_, view)| view.standing == "revoked");
    wait_for_all(car, &others, "a revocation", is_revoked)?;
    for name in &others {
        car.wait_for(&format!("{name} without {thief}"), PATIENCE, |car| {
            let status = car.status(name)?;
            let peer = status.peers.iter().find(|peer| peer.name == thief).context("no such peer")?;
            ensure!(!peer.heard, "it hears it");
            Ok(())
        })?;
    }
    car.stop(&thief)?; // it says what it likes; the cases after this look at all that run
    let (_, latency_us) = approve(car, Action::Unlock)?;
    approve(car, Action::Lock)?;
    Ok(format!("{thief} is heard no more; an approval by the six others took {latency_us} us"))
}

/// The owner sells the car. What its new owner has not signed is not decided, what the old owner signs afterwards neither, nor an order
/// that was used before.
///
/// # Errors
/// One of these is decided, or the sale is not.
pub fn sold(car: &mut Car, desk: &mut Desk) -> Result<String> {
    let (_, ecu) = car.with_role(Role::Chassis)?;
    let (_, other) = car.with_role(Role::Powertrain)?;
    let (_, thief) = car.with_role(Role::Battery)?;
    let others: Vec<_> = car.validators().into_iter().filter(|name| *name != thief).collect();
    let before = registry(car, &ecu)?.generation;
    let buyer = fs::read_to_string(desk.public("buyer"))?.trim().to_owned();
    let owner =
        |shown: &RegistryView| shown.authorities.iter().find(|known| known.role == "owner").map(|of| of.key.clone());
    let sale = args!["transfer", "--owner", buyer].to_vec();
    let half = desk.order(car, &ecu, &sale, &["owner"])?;
    let scrap_too_late = desk.order(car, &ecu, args!["end-of-life"], &["owner", "workshop"])?;
    let whole = desk.order(car, &other, &sale, &["owner", "buyer"])?;
    give(car, &ecu, &half)?;
    approve(car, Action::Unlock)?;
    approve(car, Action::Lock)?;
    ensure!(registry(car, &ecu)?.generation == before, "sold without the buyer's word");
    give(car, &other, &whole)?;
    wait_for_all(car, &others, "the sale", |shown| owner(shown).as_ref() == Some(&buyer))?;
    // from the old owner, from before the sale; and the sale once more
    give(car, &ecu, &scrap_too_late)?;
    give(car, &ecu, &whole)?;
    // and from the old owner for the car as it is now
    let robbed = desk.order(car, &other, args!["end-of-life"], &["owner", "workshop"])?;
    give(car, &other, &robbed)?;
    // what the new owner orders is decided after all of these, and is the only change
    fs::copy(desk.secret("buyer"), desk.secret("owner"))?;
    let reset = desk.order(car, &other, args!["reset"], &["owner"])?;
    give(car, &other, &reset)?;
    wait_for_all(car, &others, "the reset", |shown| shown.generation >= before + 2)?;
    for shown in others.iter().map(|name| registry(car, name)) {
        let shown = shown?;
        ensure!(!shown.ended, "scrapped by who is not its owner any more");
        ensure!(shown.generation == before + 2, "{} changes instead of two", shown.generation - before);
        ensure!(owner(&shown).as_ref() == Some(&buyer), "another owner");
    }
    Ok("sold once; what the old owner signed for afterwards was not decided".into())
}

/// The owner and a workshop scrap the car. Everybody shows it, the cloud, too.
///
/// # Errors
/// It goes on.
pub fn scrapped(car: &mut Car, desk: &mut Desk) -> Result<String> {
    let (_, ecu) = car.with_role(Role::Chassis)?;
    let (_, thief) = car.with_role(Role::Battery)?;
    let others: Vec<_> = car.validators().into_iter().filter(|name| *name != thief).collect();
    let order = desk.order(car, &ecu, args!["end-of-life"], &["owner", "workshop"])?;
    give(car, &ecu, &order)?;
    wait_for_all(car, &others, "the end of its life", |shown| shown.ended)?;
    let why = car.wait_for("the cloud's word of it", PATIENCE, |car| {
        let why = car.cloud().trust()?.why;
        why.iter().find(|why| why.contains("end of its life")).cloned().with_context(|| format!("it says {why:?}"))
    })?;
    Ok(format!("the cloud: {why}"))
}
