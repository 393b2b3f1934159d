//! The link between car and cloud: a TCP relay that can be cut.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A relay on a free port of loopback. It stops taking connections when the process ends.
pub struct Relay {
    address: SocketAddr,
    line: Arc<Mutex<Line>>,
}

struct Line {
    /// Where connections go; `None` while the link is cut.
    target: Option<SocketAddr>,
    open: Vec<TcpStream>,
}

impl Relay {
    /// A relay that leads nowhere yet.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let line = Arc::new(Mutex::new(Line { target: None, open: Vec::new() }));
        let shared = Arc::clone(&line);
        thread::Builder::new().name("relay".into()).spawn(move || {
            for client in listener.incoming().flatten() {
                // whoever cannot be connected sees the connection end
                let _ = connect(&shared, &client);
            }
        })?;
        Ok(Self { address, line })
    }

    /// Where to connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections; new ones end at once.
    pub fn cut(&self) {
        let mut line = lock(&self.line);
        line.target = None;
        for stream in line.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Leads connections to `target` from now on; those elsewhere end.
    pub fn lead_to(&self, target: SocketAddr) {
        self.cut();
        lock(&self.line).target = Some(target);
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(line: &Mutex<Line>, client: &TcpStream) -> io::Result<()> {
    let mut line = lock(line);
    let target = line.target.ok_or(io::ErrorKind::NotConnected)?;
    let server = TcpStream::connect(target)?;
    for (from, to) in [(client, &server), (&server, client)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::Builder::new().name("relay".into()).spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        })?;
    }
    line.open.retain(|stream| stream.peer_addr().is_ok());
    line.open.extend([client.try_clone()?, server]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || io::copy(&mut stream.try_clone().unwrap(), &mut &stream));
            }
        });
        address
    }

    fn is_echoed(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 4];
        stream.write_all(b"ping").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"ping"
    }

    #[test]
    fn a_cut_link_carries_nothing_until_it_is_joined() {
        let relay = Relay::start().unwrap();
        let connect = || TcpStream::connect(relay.address()).unwrap();
        assert!(!is_echoed(&mut connect()), "leads nowhere");
        relay.lead_to(echo());
        let mut stream = connect();
        assert!(is_echoed(&mut stream));
        relay.cut();
        assert!(!is_echoed(&mut stream) && !is_echoed(&mut connect()), "cut");
        relay.lead_to(echo());
        assert!(is_echoed(&mut connect()));
    }
}
