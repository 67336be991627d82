//! Child processes that end with us, and processes named by a file descriptor, so that a signal can never hit a stranger
//! who got the same number. Linux only.

use std::{
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, ExitStatus},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// A running or just ended process.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    fd: OwnedFd,
}

impl Process {
    /// Takes hold of a process; an error when there is none of this number.
    pub fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: the call takes two integers and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self { pid, fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Sends a signal; a process that has ended is no error.
    pub fn signal(&self, signal: i32) {
        // SAFETY: a valid descriptor, a null siginfo as the manual allows, no flags. The result is of no interest: it
        // fails when the process is gone, which is what every caller wants.
        unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), signal, std::ptr::null::<()>(), 0);
        }
    }

    /// Blocks until the process has ended, at most for `limit`; tells whether it has.
    pub fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
            let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one valid pollfd, count 1.
            match unsafe { libc::poll(&mut poll, 1, left_ms) } {
                1 => return true,
                0 => return false,
                // Interrupted by a signal: go on with what is left of the time.
                _ if left.is_zero() => return false,
                _ => {}
            }
        }
    }
}

/// A child that gets a signal when this process ends, however it ends, and whose end somebody always waits for.
///
/// The kernel sends that signal when the *thread* that started the child ends. So each child has a thread of its own
/// that starts it and stays until it has ended; a thread of a pool may retire at any time.
#[derive(Clone, Debug)]
pub struct KeptChild {
    process: Arc<Process>,
    exited: watch::Receiver<Option<ExitStatus>>,
}

impl KeptChild {
    /// Starts the command; `signal` is what it gets when this process ends.
    pub fn spawn(mut command: Command, signal: i32) -> io::Result<Self> {
        end_with_thread(&mut command, signal);
        let (started, start) = mpsc::sync_channel(1);
        let (ended, exited) = watch::channel(None);
        let keeper = move || match start_child(&mut command) {
            Err(error) => drop(started.send(Err(error))),
            Ok((mut child, process)) => {
                // The receiver waits below for exactly this.
                let _ = started.send(Ok(Arc::new(process)));
                let status = child.wait();
                ended.send_replace(Some(status.unwrap_or_default()));
            }
        };
        std::thread::Builder::new().name("child-keeper".into()).spawn(keeper)?;
        let process = start.recv().map_err(io::Error::other)??;
        Ok(Self { process, exited })
    }

    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// How it ended, once it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.exited.borrow()
    }

    /// Waits until the child has ended, whoever ended it.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn ended(&mut self) -> ExitStatus {
        match self.exited.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            // The keeper only ends after it has told the status.
            Err(_) => ExitStatus::default(),
        }
    }
}

fn start_child(command: &mut Command) -> io::Result<(Child, Process)> {
    let mut child = command.spawn()?;
    match i32::try_from(child.id()).map_err(io::Error::other).and_then(Process::open) {
        Ok(process) => Ok((child, process)),
        Err(error) => {
            // A kernel before 5.3; without a handle nobody could stop it safely later.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Makes the child get `signal` when the thread that starts it ends.
///
/// The kernel forgets the setting when the child changes its user; `std` runs this hook after that.
pub(super) fn end_with_thread(command: &mut Command, signal: i32) {
    let parent = std::process::id();
    // SAFETY: the hook only makes system calls that are allowed between fork and exec.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, signal) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the call; nobody would ever send the signal then.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}
