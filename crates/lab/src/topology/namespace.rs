//! One host or router of the namespace lab: a Linux network namespace with a name, and the ways to work inside it.
//!
//! It must not know what a host is for, nor where it stands. Everything here presumes the private `/run` of
//! [`super::shell`]: a namespace is a file below `/run/netns`, so that `ip netns exec NAME …` works as well.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

/// Where `ip netns` looks for names.
pub const FOLDER: &str = "/run/netns";

/// One host or router.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, as `ip netns exec` takes it.
    pub name: String,
    /// The interface towards the client, if there is one.
    pub left: Option<String>,
    /// The interface towards the server, if there is one.
    pub right: Option<String>,
    /// Its addresses, those towards the client first.
    pub addresses: Vec<IpAddr>,
    namespace: Arc<File>,
}

impl Node {
    /// Makes the namespace, with its loopback interface still down and nothing else in it.
    ///
    /// # Errors
    /// When the kernel refuses, or the name is taken.
    pub fn create(name: &str) -> io::Result<Self> {
        fs::create_dir_all(FOLDER)?;
        let path = path_of(name);
        File::create_new(&path)?;
        let place = path.clone();
        // A namespace belongs to a thread before it has a name.
        let made = std::thread::Builder::new()
            .name(format!("make {name}"))
            .spawn(move || -> io::Result<()> {
                unshare(CloneFlags::CLONE_NEWNET)?;
                let own = Some("/proc/thread-self/ns/net");
                mount(own, &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
                Ok(())
            })?
            .join();
        made.unwrap_or_else(|_| Err(io::Error::other("the thread of a namespace panicked")))?;
        Ok(Self {
            name: name.to_owned(),
            left: None,
            right: None,
            addresses: Vec::new(),
            namespace: Arc::new(File::open(&path)?),
        })
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> PathBuf {
        path_of(&self.name)
    }

    /// A command that runs inside. `nsenter` becomes the program, so that the child's id is the program's own.
    pub fn command<I>(&self, program: impl AsRef<OsStr>, arguments: I) -> Command
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut command = Command::new("nsenter");
        let mut network = std::ffi::OsString::from("--net=");
        network.push(self.path());
        command.arg(network).arg("--").arg(program).args(arguments);
        command
    }

    /// A thread that stands inside before `work` begins: sockets made there, and `/proc/sys/net` as seen there, are the
    /// namespace's.
    ///
    /// # Errors
    /// When the thread cannot be had or may not enter.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let namespace = Arc::clone(&self.namespace);
        let (entered, entry) = std::sync::mpsc::sync_channel::<io::Result<()>>(1);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let inside = setns(&*namespace, CloneFlags::CLONE_NEWNET);
                let refused = inside.is_err();
                // The one who waits is gone only when its own thread is; then nobody cares.
                let _ = entered.send(inside.map_err(io::Error::from));
                if refused {
                    // `work` must never run outside. Nobody holds the handle of this thread.
                    std::panic::resume_unwind(Box::new("not inside"));
                }
                work()
            })?;
        entry.recv().map_err(io::Error::other)??;
        Ok(thread)
    }

    /// Runs `work` inside and waits for it.
    ///
    /// # Errors
    /// When the thread cannot be had or may not enter, or `work` panicked.
    pub fn inside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        self.thread(&self.name, work)?
            .join()
            .map_err(|_| io::Error::other(format!("the work inside {} panicked", self.name)))
    }

    /// Whether this is one of the node's addresses.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }
}

/// The file of the namespace called `name`.
fn path_of(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}
