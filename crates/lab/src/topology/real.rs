//! Real mail servers on a host of the network: Postfix, Exim and Dovecot as Debian packs them, each with a configuration of
//! its own. Nothing of the machine's own mail system is read or touched. It must not know boxes or verdicts.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::namespace::Node;
use super::server::port_of;
use super::serving::certificate_names;
use super::shell::{self, Rights};
use super::tool::{ToolError, find};
use super::world::SERVER_NAME;
use crate::authority::{Authority, AuthorityError};
use crate::protocol::Scheme;
use crate::server::{ServerSpec, Starttls};

/// A first start makes queue folders and parameters: 0.3 s when alone, seconds on a loaded machine.
const START_WAIT: Duration = Duration::from_secs(30);
/// Dovecot takes more than 0.3 s to end.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// What a real server is to be.
pub(super) struct Site<'a> {
    pub(super) services: Vec<Scheme>,
    pub(super) spec: &'a ServerSpec,
    pub(super) hidden_from: &'a [(IpAddr, u8)],
    pub(super) authority: &'a Authority,
}

/// A real server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RealError {
    /// It is not installed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It changes users, which this process cannot let it do.
    #[error(
        "{0} changes users: build the lab as root, or as a user with ranges in /etc/subuid and /etc/subgid (Debian package uidmap)"
    )]
    Rights(&'static str),
    /// The scenario wants what it cannot do.
    #[error("{program} cannot be made to do what the scenario says: {what}")]
    Cannot {
        /// Which.
        program: &'static str,
        /// What.
        what: String,
    },
    /// A file could not be written or a program not run.
    #[error("{what}: {cause}")]
    Io {
        /// What was tried.
        what: String,
        /// Why.
        cause: io::Error,
    },
    /// It ended, or stayed silent.
    #[error("{program} does not greet on {address}: {said}")]
    Silent {
        /// Which.
        program: &'static str,
        /// Where.
        address: SocketAddr,
        /// Its log.
        said: String,
    },
    /// Its certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// A process that runs until dropped.
pub(super) struct Daemon {
    child: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It leads a group of its own, so its children hear it too. What it leaves goes with the process tree.
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGTERM);
        }
        let began = Instant::now();
        while began.elapsed() < STOP_WAIT {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Postfix for the SMTP services.
pub(super) fn postfix(node: &Node, site: &Site) -> Result<Vec<Daemon>, RealError> {
    allowed("Postfix")?;
    let check = find("postfix")?;
    let root = folder("postfix")?;
    let place = root.display();
    let addresses: Vec<String> = node.addresses.iter().map(IpAddr::to_string).collect();
    let mut main = format!(
        "compatibility_level = 3.6\nqueue_directory = {place}/queue\ndata_directory = {place}/data\n\
         maillog_file = {place}/mail.log\nmaillog_file_prefixes = {place}\n\
         daemon_directory = /usr/lib/postfix/sbin\ncommand_directory = /usr/sbin\n\
         myhostname = {}\nmydestination =\nmynetworks = 127.0.0.0/8\n\
         inet_interfaces = {}\ninet_protocols = all\nalias_maps =\nalias_database =\n\
         default_transport = discard\nsmtpd_peername_lookup = no\nsmtpd_tls_session_cache_database =\n",
        site.spec.host,
        addresses.join(", ")
    );
    match site.spec.starttls {
        Starttls::Offered | Starttls::Unavailable => {
            let (certificate, key) = leaf(node, site)?;
            let chain = if site.spec.starttls == Starttls::Offered {
                key + &certificate
            } else {
                "not a key\n".to_owned()
            };
            let chain = written(&root, "chain.pem", &chain)?;
            let _ = writeln!(
                main,
                "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {}",
                chain.display()
            );
        }
        Starttls::Hidden => main += "smtpd_tls_security_level = none\n",
        other => return Err(cannot("Postfix", &format!("starttls = {other:?}"))),
    }
    if !site.hidden_from.is_empty() {
        let map: String = site
            .hidden_from
            .iter()
            .map(|(prefix, length)| format!("{prefix}/{length} starttls\n"))
            .collect();
        let map = written(&root, "etc/hide.cidr", &map)?;
        let _ = writeln!(
            main,
            "smtpd_discard_ehlo_keyword_address_maps = cidr:{}",
            map.display()
        );
    }
    let mut master = String::new();
    for scheme in &site.services {
        let wrapped = if scheme.implicit_tls() {
            " -o smtpd_tls_wrappermode=yes"
        } else {
            ""
        };
        let _ = writeln!(master, "{} inet n - n - - smtpd{wrapped}", port_of(*scheme));
    }
    master += "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
        rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n\
        trace unix - - n - 0 bounce\nproxymap unix - - n - - proxymap\ndiscard unix - - n - - discard\n\
        anvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\npostlog unix-dgram n - n - 1 postlogd\n";
    for (name, text) in [("etc/main.cf", &main), ("etc/master.cf", &master)] {
        let path = written(&root, name, text)?;
        // Postfix waits in steps of 0.3 s while its configuration is younger than two seconds.
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(hour_ago))
            .map_err(io(format!("ageing {}", path.display())))?;
    }
    let etc = root.join("etc");
    for name in ["data", "queue"] {
        let path = root.join(name);
        fs::create_dir_all(&path).map_err(io(format!("making {}", path.display())))?;
    }
    run(Command::new("chown").arg("postfix").arg(root.join("data")))?;
    // Inside: it looks whether the addresses are there.
    run(node
        .command(check, ["-c".as_ref(), etc.as_os_str(), "check".as_ref()])
        .env("LC_ALL", "C"))?;
    let master = Path::new("/usr/lib/postfix/sbin/master");
    let arguments = ["-c".into(), etc.into_os_string(), "-d".into()];
    daemon("Postfix", node, site, master, &arguments, &root).map(|one| vec![one])
}

/// Exim for the SMTP services.
pub(super) fn exim(node: &Node, site: &Site) -> Result<Vec<Daemon>, RealError> {
    allowed("Exim")?;
    let program = exim_program()?;
    let root = folder("exim")?;
    let place = root.display();
    let addresses: Vec<String> = node.addresses.iter().map(IpAddr::to_string).collect();
    let ports = |wanted: &dyn Fn(&Scheme) -> bool| -> String {
        let ports = site.services.iter().filter(|scheme| wanted(scheme));
        let ports: Vec<String> = ports.map(|scheme| port_of(*scheme).to_string()).collect();
        ports.join(" : ")
    };
    let mut text = format!(
        "primary_hostname = {}\nspool_directory = {place}/spool\nlog_file_path = {place}/spool/log-%s\n\
         local_interfaces = <; {}\ndaemon_smtp_ports = {}\ntls_on_connect_ports = {}\n\
         pid_file_path = {place}/spool/exim.pid\nhost_lookup =\nrfc1413_query_timeout = 0s\nacl_smtp_rcpt = accept\n",
        site.spec.host,
        addresses.join(" ; "),
        ports(&|_| true),
        ports(&|scheme| scheme.implicit_tls()),
    );
    match site.spec.starttls {
        Starttls::Offered | Starttls::Unavailable => {
            let (certificate, key) = leaf(node, site)?;
            let certificate = written(&root, "leaf.pem", &certificate)?;
            let key = if site.spec.starttls == Starttls::Offered {
                written(&root, "leaf.key", &key)?
            } else {
                root.join("nowhere.key")
            };
            let mut to: String = site
                .hidden_from
                .iter()
                .map(|(prefix, length)| format!("! {prefix}/{length} ; "))
                .collect();
            to.push('*');
            let _ = writeln!(
                text,
                "tls_advertise_hosts = <; {to}\ntls_certificate = {}\ntls_privatekey = {}",
                certificate.display(),
                key.display()
            );
        }
        Starttls::Hidden => text += "tls_advertise_hosts =\n",
        other => return Err(cannot("Exim", &format!("starttls = {other:?}"))),
    }
    text += "begin acl\nbegin routers\nhole:\n  driver = redirect\n  data = :blackhole:\nbegin transports\nbegin retry\nbegin rewrite\nbegin authenticators\n";
    let configuration = written(&root, "exim.conf", &text)?;
    let spool = root.join("spool");
    fs::create_dir_all(&spool).map_err(io(format!("making {}", spool.display())))?;
    // The user's name is compiled in.
    run(Command::new("chown").arg("Debian-exim").arg(&spool))?;
    let arguments = ["-C".into(), configuration.into_os_string(), "-bdf".into()];
    daemon("Exim", node, site, &program, &arguments, &root).map(|one| vec![one])
}

/// The MTA packages exclude each other, so Exim may also be unpacked somewhere, and named in `HOOFBEAT_EXIM`.
fn exim_program() -> Result<PathBuf, RealError> {
    let named = std::env::var_os("HOOFBEAT_EXIM").map(PathBuf::from);
    let unpacked = PathBuf::from("target/witness/usr/sbin/exim4");
    match named
        .into_iter()
        .chain([unpacked])
        .find(|path| path.is_file())
    {
        Some(path) => Ok(path),
        None => Ok(find("exim4")?),
    }
}

/// Dovecot for IMAP and POP3.
pub(super) fn dovecot(node: &Node, site: &Site) -> Result<Vec<Daemon>, RealError> {
    allowed("Dovecot")?;
    if !site.hidden_from.is_empty() {
        return Err(cannot("Dovecot", "hides-from"));
    }
    let program = find("dovecot")?;
    let root = folder("dovecot")?;
    let place = root.display();
    let addresses: Vec<String> = node.addresses.iter().map(IpAddr::to_string).collect();
    let tls = match site.spec.starttls {
        Starttls::Offered => {
            let (certificate, key) = leaf(node, site)?;
            let certificate = written(&root, "leaf.pem", &certificate)?;
            let key = written(&root, "leaf.key", &key)?;
            format!(
                "ssl = yes\nssl_cert = <{}\nssl_key = <{}\n",
                certificate.display(),
                key.display()
            )
        }
        Starttls::Hidden => "ssl = no\n".to_owned(),
        other => return Err(cannot("Dovecot", &format!("starttls = {other:?}"))),
    };
    let port = |scheme: Scheme| {
        let off = site.spec.starttls == Starttls::Hidden && scheme.implicit_tls();
        if site.services.contains(&scheme) && !off {
            port_of(scheme)
        } else {
            0
        }
    };
    let listener = |name: &str, scheme: Scheme| {
        let ssl = if scheme.implicit_tls() {
            "  ssl = yes\n"
        } else {
            ""
        };
        format!(
            " inet_listener {name} {{\n  port = {}\n{ssl} }}\n",
            port(scheme)
        )
    };
    let text = format!(
        "instance_name = {place}\nbase_dir = {place}/run\nstate_dir = {place}/state\nlog_path = {place}/mail.log\n\
         protocols = imap pop3\nlisten = {}\nmail_location = maildir:{place}/mail\n\
         disable_plaintext_auth = yes\nauth_mechanisms = plain login\n{tls}\
         passdb {{\n driver = static\n args = nopassword=no password=unused\n}}\n\
         userdb {{\n driver = static\n args = uid=65534 gid=65534 home={place}/home\n}}\n\
         service imap-login {{\n{}{}}}\nservice pop3-login {{\n{}{}}}\n",
        addresses.join(", "),
        listener("imap", Scheme::Imap),
        listener("imaps", Scheme::Imaps),
        listener("pop3", Scheme::Pop3),
        listener("pop3s", Scheme::Pop3s),
    );
    let configuration = written(&root, "dovecot.conf", &text)?;
    let arguments = ["-F".into(), "-c".into(), configuration.into_os_string()];
    daemon("Dovecot", node, site, &program, &arguments, &root).map(|one| vec![one])
}

fn allowed(program: &'static str) -> Result<(), RealError> {
    match Rights::inside() {
        Rights::Root | Rights::ManyIds => Ok(()),
        Rights::OneId => Err(RealError::Rights(program)),
    }
}

fn cannot(program: &'static str, what: &str) -> RealError {
    RealError::Cannot {
        program,
        what: what.to_owned(),
    }
}

fn io(what: String) -> impl FnOnce(io::Error) -> RealError {
    move |cause| RealError::Io { what, cause }
}

/// An empty folder that the server's own users may pass through, with a short path: sockets' paths have 108 bytes.
fn folder(name: &str) -> Result<PathBuf, RealError> {
    let path = Path::new(shell::FOLDER).join(name);
    let making = || format!("making {}", path.display());
    // One of an earlier lab of this process, perhaps.
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).map_err(io(making()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(io(making()))?;
    Ok(path)
}

fn written(root: &Path, name: &str, text: &str) -> Result<PathBuf, RealError> {
    let path = root.join(name);
    let writing = || format!("writing {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io(writing()))?;
    }
    fs::write(&path, text).map_err(io(writing()))?;
    Ok(path)
}

fn leaf(node: &Node, site: &Site) -> Result<(String, String), RealError> {
    let names = certificate_names(site.spec, SERVER_NAME, &[node]);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(site.authority.leaf_pem(site.spec.certificate, &names)?)
}

fn run(command: &mut Command) -> Result<(), RealError> {
    let what = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(io(what.clone()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io(what)(io::Error::other(format!(
        "{}: {said}",
        output.status
    ))))
}

/// Starts `program` inside `node` as leader of its own process group (Postfix ends its group at its end), and waits until
/// each service greets, or for those inside TLS, accepts.
fn daemon(
    name: &'static str,
    node: &Node,
    site: &Site,
    program: &Path,
    arguments: &[std::ffi::OsString],
    root: &Path,
) -> Result<Daemon, RealError> {
    let log = root.join("output.log");
    let output = fs::File::create(&log).map_err(io(format!("writing {}", log.display())))?;
    let again = output
        .try_clone()
        .map_err(io(format!("writing {}", log.display())))?;
    let child = node
        .command(program, arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(again)
        .stderr(output)
        .spawn()
        .map_err(io(format!("running {}", program.display())))?;
    let mut daemon = Daemon { child };
    let said = || {
        let logs = [
            "output.log",
            "mail.log",
            "spool/log-main",
            "spool/log-panic",
        ];
        let texts = logs.map(|log| fs::read_to_string(root.join(log)).unwrap_or_default());
        texts.concat().trim().to_owned()
    };
    let began = Instant::now();
    let closed = |scheme: &&Scheme| site.spec.starttls == Starttls::Hidden && scheme.implicit_tls();
    for scheme in site.services.iter().filter(|scheme| !closed(scheme)) {
        let Some(address) = node.addresses.first() else {
            continue;
        };
        let address = SocketAddr::new(*address, port_of(*scheme));
        let silent = |said| RealError::Silent {
            program: name,
            address,
            said,
        };
        let greets = !scheme.implicit_tls();
        loop {
            if let Ok(Some(status)) = daemon.child.try_wait() {
                return Err(silent(format!("it ended with {status}: {}", said())));
            }
            if node
                .inside(move || answers(address, greets))
                .unwrap_or(false)
            {
                break;
            }
            if began.elapsed() > START_WAIT {
                return Err(silent(said()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(daemon)
}

fn answers(address: SocketAddr, greets: bool) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return false;
    };
    if !greets {
        return true;
    }
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    matches!(stream.read(&mut [0; 1]), Ok(1))
}
