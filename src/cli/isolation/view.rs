//! Entering a private view of the machine: a mount namespace in which a few files are others. They live in memory and go
//! with the last process that sees them. Nothing on disk changes, and nobody else sees them.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// What the command sees.
#[derive(Debug, Clone)]
pub(in crate::cli) struct View {
    /// Where KPay's hosts lead.
    pub(super) address: Ipv4Addr,
    /// The CA that is trusted in addition.
    pub(super) ca: Option<PathBuf>,
    /// Files beside the system's own that trust it as well.
    pub(super) trusting: Vec<PathBuf>,
}

impl View {
    /// Returns the view as arguments of this program.
    pub(in crate::cli) fn arguments(&self) -> Vec<OsString> {
        let ca = self.ca.as_ref().map_or_else(OsString::new, |ca| ca.clone().into_os_string());
        let mut words = vec![self.address.to_string().into(), ca, self.trusting.len().to_string().into()];
        words.extend(self.trusting.iter().map(|file| file.clone().into_os_string()));
        words
    }

    /// Reads arguments.
    pub(in crate::cli) fn read(words: &mut impl Iterator<Item = OsString>) -> Option<View> {
        let address = words.next()?.to_str()?.parse().ok()?;
        let ca = words.next().filter(|ca| !ca.is_empty()).map(PathBuf::from);
        let count: usize = words.next()?.to_str()?.parse().ok()?;
        let trusting = words.take(count).map(PathBuf::from).collect();
        Some(View { address, ca, trusting })
    }
}

/// Has this process, and all that it starts, see the machine in this way. Returns why that is not possible.
#[cfg(not(target_os = "linux"))]
pub(in crate::cli) fn enter(_: &View) -> Result<(), String> {
    Err("only Linux has it".into())
}

#[cfg(target_os = "linux")]
pub(in crate::cli) use linux::enter;

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io;
    use std::net::{Ipv4Addr, ToSocketAddrs};
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::path::{Path, PathBuf};

    use rustix::io::Errno;
    use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount};
    use rustix::process::{getgid, getuid};
    use rustix::thread::UnshareFlags;

    use super::super::files;
    use super::View;
    use crate::certificates;
    use crate::cli::hosts;
    use crate::proxy::KPAY_HOSTS;

    /// The system's trusted root certificates.
    const ROOTS: [&str; 4] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
        "/etc/ssl/ca-bundle.pem",
    ];
    const NAME_SERVICES: &str = "/etc/nsswitch.conf";
    /// The name service cache, which would answer from the hosts file that it sees.
    const CACHE: &str = "/run/nscd/socket";
    /// Where the files are put while they are made. Nothing of the command runs then.
    const STAGES: [&str; 5] = ["/tmp", "/run", "/mnt", "/var", "/dev"];

    /// Has this process, and all that it starts, see the machine in this way. Returns why that is not possible.
    pub(in crate::cli) fn enter(view: &View) -> Result<(), String> {
        let files = contents(view)?;
        let stage = STAGES.into_iter().map(Path::new).find(|stage| {
            let stages = stage.is_dir() && !stage.is_symlink();
            stages && !files.iter().any(|(target, _)| target.starts_with(stage))
        });
        let stage = stage.ok_or("there is no folder to make files in")?;
        unshare()?;
        let at = |what: &str| {
            let what = what.to_owned();
            move |error: Errno| format!("{what} cannot be mounted: {}", io::Error::from(error))
        };
        // What is mounted outside from now on is seen in here too, and not the other way round.
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).map_err(at("/"))?;
        if let Ok(kind) = fs::metadata(CACHE)
            && kind.file_type().is_socket()
        {
            mount_bind("/dev/null", CACHE).map_err(at(CACHE))?;
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("kpay-sandbox", stage, "tmpfs", flags, None).map_err(at("memory"))?;
        for (number, (target, content)) in files.iter().enumerate() {
            let file = stage.join(number.to_string());
            let written =
                fs::write(&file, content).and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o644)));
            written.map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
            mount_bind(&file, target).map_err(at(&target.display().to_string()))?;
        }
        // The mounted files keep it alive.
        unmount(stage, UnmountFlags::DETACH).map_err(at("memory"))?;
        check(view.address)
    }

    /// Returns the files that are others in the view, with what they contain there.
    fn contents(view: &View) -> Result<Vec<(PathBuf, Vec<u8>)>, String> {
        let cannot = |file: &Path, error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", file.display());
        let file = Path::new(hosts::DEFAULT_FILE);
        let before = hosts::read(file).map_err(|error| cannot(file, &error))?;
        let after = files::hosts(&String::from_utf8_lossy(&before), view.address);
        let mut contents = vec![(real(file).map_err(|error| cannot(file, &error))?, after.into_bytes())];
        // Without the file, the C library looks at the hosts file first.
        let services = Path::new(NAME_SERVICES);
        if let Some(after) = fs::read_to_string(services).ok().as_deref().and_then(files::name_services) {
            contents.push((real(services).map_err(|error| cannot(services, &error))?, after.into_bytes()));
        }
        let Some(ca) = &view.ca else { return Ok(contents) };
        let ca = fs::read(ca).map_err(|error| cannot(ca, &error))?;
        let system = ROOTS.into_iter().map(Path::new).filter(|file| file.is_file());
        for file in system.chain(view.trusting.iter().map(PathBuf::as_path)) {
            let file = real(file).map_err(|error| cannot(file, &error))?;
            if contents.iter().all(|(known, _)| *known != file) {
                let before = certificates::read(&file).map_err(|error| cannot(&file, &error))?.unwrap_or_default();
                contents.push((file, files::roots(&before, &ca)));
            }
        }
        Ok(contents)
    }

    /// Returns a file's own path: a mount is put over that.
    fn real(file: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(file)
    }

    /// Makes a mount namespace, as root or in a user namespace in which this user stays who they are.
    fn unshare() -> Result<(), String> {
        // Deprecated because of a flag that is not used here: it could take file descriptors from other threads.
        #[expect(deprecated, reason = "the other one is unsafe")]
        let unshare = rustix::thread::unshare;
        if unshare(UnshareFlags::NEWNS).is_ok() {
            return Ok(());
        }
        let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
        let refused = |error: io::Error| format!("this user may not make user namespaces: {error}");
        unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).map_err(|error| refused(error.into()))?;
        // Capabilities in it end with the first program that is started.
        for (file, line) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("{uid} {uid} 1")),
            ("gid_map", format!("{gid} {gid} 1")),
        ] {
            fs::write(format!("/proc/self/{file}"), line).map_err(refused)?;
        }
        Ok(())
    }

    /// Looks up KPay's hosts: something else than the hosts file may answer first.
    fn check(address: Ipv4Addr) -> Result<(), String> {
        for host in KPAY_HOSTS {
            let found = (host, 443).to_socket_addrs().map_err(|error| format!("{host} is not found: {error}"))?;
            let mut foreign = found.map(|found| found.ip()).filter(|found| !files::is_own(*found, address));
            if let Some(found) = foreign.next() {
                return Err(format!("{host} leads to {found} in spite of the hosts file"));
            }
        }
        Ok(())
    }
}
