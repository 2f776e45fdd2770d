//! One peer of a live scenario: a program or a tab, in all its lives.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use tokio::runtime::Handle;
use weft_core::node::{Role, StatusView};

use super::{
    Chain, Driver, LiveError, NodeOptions, PATIENCE, Process, RelayOptions, Tab,
    links::Links,
    numbers::Numbers,
    said::{Said, time},
    told::Told,
};

/// What all peers stand on.
pub(super) struct Ground {
    pub(super) driver: Option<Driver>,
    pub(super) links: Links,
    pub(super) chain: Chain,
    pub(super) runtime: Handle,
}

impl Ground {
    fn driver(&self) -> Result<&Driver, LiveError> {
        self.driver.as_ref().ok_or_else(|| LiveError::Refused("nothing starts tabs".to_owned()))
    }
}

/// How a peer is started, each time in the same way.
pub(super) enum Recipe {
    Native(NodeOptions),
    Relay(RelayOptions),
    Tab { url: String, arguments: Vec<String> },
}

enum Body {
    Program(Process),
    Tab(Tab),
}

/// One peer.
pub(super) struct Actor {
    ix: usize,
    name: String,
    recipe: Recipe,
    body: Option<Body>,
    paused: bool,
    /// How far its present log was read.
    read: u64,
    /// What its earlier lives counted.
    before: Numbers,
    starts: u64,
}

impl Actor {
    pub(super) fn new(ix: usize, name: String, recipe: Recipe) -> Self {
        Self { ix, name, recipe, body: None, paused: false, read: 0, before: Numbers::default(), starts: 0 }
    }

    /// What its files and errors call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The page that a tab opens.
    pub(super) fn opens(&mut self, page: String) {
        if let Recipe::Tab { url, .. } = &mut self.recipe {
            *url = page;
        }
    }

    /// Starts it; it is of use once it [is ready](Self::get_ready).
    pub(super) fn begin(&mut self, ground: &Ground) -> Result<(), LiveError> {
        let chain = &ground.chain;
        let program = |command| Process::start(&self.name, command, chain.dir()).map(Body::Program);
        self.body = Some(match &self.recipe {
            Recipe::Native(options) => program(chain.node_command(&self.name, options))?,
            Recipe::Relay(options) => program(chain.relay_command(&self.name, options))?,
            Recipe::Tab { url, arguments } => {
                let profile = format!("profile-{}", self.name);
                let opened = ground.driver()?.open(&profile, url, arguments);
                Body::Tab(ground.runtime.block_on(opened)?)
            }
        });
        self.paused = false;
        self.read = 0;
        self.starts += 1;
        Ok(())
    }

    /// Waits until it can be reached.
    pub(super) fn get_ready(&mut self, ground: &Ground) -> Result<(), LiveError> {
        let Some(Body::Program(process)) = &mut self.body else { return Ok(()) };
        process.get_ready()?;
        let port = process.tcp_addresses().iter().find_map(|address| {
            let (_, rest) = address.split_once("/tcp/")?;
            rest.split('/').next()?.parse().ok()
        });
        let port: u16 = port.ok_or_else(|| LiveError::Answer(format!("{} listens nowhere", self.name)))?;
        ground.links.moved(self.ix, Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        Ok(())
    }

    /// Fails when a program has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), LiveError> {
        match &mut self.body {
            Some(Body::Program(process)) => process.check(),
            _ => Ok(()),
        }
    }

    /// How often it was started.
    pub(super) fn starts(&self) -> u64 {
        self.starts
    }

    pub(super) fn is_up(&self) -> bool {
        self.body.is_some()
    }

    /// The program, when there is one that answers.
    pub(super) fn program(&self) -> Option<&Process> {
        match &self.body {
            Some(Body::Program(process)) if !self.paused => Some(process),
            _ => None,
        }
    }

    /// Its role, as far as it matters to a live run.
    pub(super) fn role(&self) -> Role {
        match self.recipe {
            Recipe::Native(_) => Role::Native,
            Recipe::Relay(_) => Role::Relay,
            Recipe::Tab { .. } => Role::Browser,
        }
    }

    /// How a program sees itself; nothing where there is none that answers.
    pub(super) fn status(&self) -> Result<Option<StatusView>, LiveError> {
        self.program().map(Process::status).transpose()
    }

    /// What a program in all its lives counted.
    pub(super) fn numbers(&self) -> Result<Numbers, LiveError> {
        let mut sum = self.before.clone();
        if let Some(process) = self.program() {
            sum.add(&Numbers::of(process)?);
        }
        Ok(sum)
    }

    /// Hears what it has said since the last time.
    pub(super) fn listen(&mut self, ground: &Ground, told: &mut Told) -> Result<(), LiveError> {
        match &self.body {
            Some(Body::Program(process)) => {
                let fresh = unread(process.log_file(), &mut self.read)
                    .map_err(LiveError::system(format!("reading the log of {}", self.name)))?;
                for line in fresh.lines() {
                    if let (Some(at), Some(said)) = (time(line), Said::read(line)) {
                        told.said(at, self.ix, said);
                    }
                }
            }
            Some(Body::Tab(tab)) if !self.paused => {
                for (millis, line) in ground.runtime.block_on(tab.console())? {
                    if let Some(said) = Said::read(&line) {
                        told.said(millis * 1000, self.ix, said);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends it, at once or as asked.
    pub(super) fn end(&mut self, ground: &Ground, told: &mut Told, at_once: bool) -> Result<(), LiveError> {
        self.before = self.numbers()?;
        // What a browser has said goes with it; what a program says at its end is still written.
        self.listen(ground, told)?;
        if let Some(Body::Program(process)) = &mut self.body {
            if at_once {
                process.kill();
            } else {
                process.resume()?;
                process.terminate()?;
                process.wait(PATIENCE)?;
            }
            self.listen(ground, told)?;
            ground.links.moved(self.ix, None);
        }
        self.paused = false;
        if let Some(Body::Tab(tab)) = self.body.take() {
            if at_once {
                ground.runtime.block_on(tab.kill())?;
            } else {
                tab.resume()?;
                ground.runtime.block_on(tab.close())?;
            }
        }
        Ok(())
    }

    /// Lets it stand still, or go on.
    pub(super) fn pause(&mut self, pause: bool) -> Result<(), LiveError> {
        if self.paused == pause {
            return Ok(());
        }
        match (&mut self.body, pause) {
            (Some(Body::Program(process)), true) => process.pause()?,
            (Some(Body::Program(process)), false) => process.resume()?,
            (Some(Body::Tab(tab)), true) => tab.pause()?,
            (Some(Body::Tab(tab)), false) => tab.resume()?,
            (None, _) => return Ok(()),
        }
        self.paused = pause;
        Ok(())
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // The driver could not end a browser that stands still.
        let _ = self.pause(false);
    }
}

/// The whole lines that were added to a file since the last time.
fn unread(path: &Path, read: &mut u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(*read))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    *read += whole as u64;
    Ok(String::from_utf8_lossy(&bytes[..whole]).into_owned())
}
