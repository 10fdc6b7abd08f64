/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/session.h"

#include "cache/base/data/buffer.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "fs/mount/bdi.h"
#include "fs/session/device.h"
#include "fs/session/session_state.h"

#include <errno.h>
#include <poll.h>

/* Beyond the kernel's 12, so that waiting reads of one user do not hold up another's. */
#define MAX_BACKGROUND 512

/* What the kernel reads ahead of a sequential reader; its own limit for FUSE is 128 KiB. */
#define READ_AHEAD_KIB 1024

/* How often the end of a session looks whether the last notification has come through. */
#define NOTIFY_POLL_MS 5

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	struct session *session = userdata;
	static const unsigned int wanted =
		FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
		FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_NO_OPENDIR_SUPPORT |
		FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_POSIX_ACL | FUSE_CAP_SPLICE_WRITE |
		FUSE_CAP_SPLICE_MOVE;

	conn->want |= wanted & conn->capable;
	session->is_opendir_needless = conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT;
	/* a directory in the kernel's cache needs no checking: a flip makes it forget */
	conn->want &= ~(unsigned int)FUSE_CAP_AUTO_INVAL_DATA;
	/* libfuse asks for it: attributes with the first answer only. One LOOKUP costs as much
	 * as eight entries' attributes */
	conn->want &= ~(unsigned int)FUSE_CAP_READDIRPLUS_AUTO;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
	/* the kernel takes the lesser of this and what the mount is set to */
	conn->max_readahead = READ_AHEAD_KIB * 1024;
	passthrough_negotiate(&session->passthrough, conn);
}

/* No flush, access or locks: libfuse answers ENOSYS, after which the kernel asks no more. */
static const struct fuse_lowlevel_ops operations = {
	.init = on_init,
	.lookup = ops_dir_lookup,
	.forget = ops_dir_forget,
	.forget_multi = ops_dir_forget_multi,
	.opendir = ops_dir_opendir,
	.readdir = ops_dir_readdir,
	.readdirplus = ops_dir_readdirplus,
	.getattr = ops_meta_getattr,
	.readlink = ops_meta_readlink,
	.statfs = ops_meta_statfs,
	.open = ops_file_open,
	.read = ops_file_read,
	.release = ops_file_release,
	.lseek = ops_file_lseek,
	.getxattr = xattr_get,
	.listxattr = xattr_list,
};

static int make_fuse_session(struct session *session)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	AUTO_BUFFER struct buffer name = BUFFER_INIT(4096);
	char *options = NULL;
	int r = buffer_printf(&name, "fsname=%s", session->config.fsname);

	if (r < 0)
		return r;
	/* the name may hold what means something in an option string */
	if (fuse_opt_add_opt(&options, "ro,default_permissions,subtype=depotfs") ||
		fuse_opt_add_opt_escaped(&options, (const char *)name.data) ||
		(session->config.allow_other &&
			fuse_opt_add_opt(&options, "allow_other")) ||
		fuse_opt_add_arg(&args, "depotfs") || fuse_opt_add_arg(&args, "-o") ||
		fuse_opt_add_arg(&args, options))
		r = -ENOMEM;
	else
		session->fuse =
			fuse_session_new(&args, &operations, sizeof(operations), session);
	free(options);
	fuse_opt_free_args(&args);
	return r == 0 && !session->fuse ? -EINVAL : r;
}

int session_new(const struct session_config *config, struct session **out)
{
	struct session *session = mem_calloc(1, sizeof(*session));

	if (!session)
		return -ENOMEM;
	session->config = *config;
	passthrough_init(
		&session->passthrough, config->open_mode == SESSION_OPEN_PASSTHROUGH);
	int r = make_fuse_session(session);

	if (r < 0) {
		free(session);
		return r;
	}
	r = parked_list_init(&session->parked);
	int s = sum_queue_init(&session->sums);
	int o = open_files_init(&session->open_files, config->contents);
	int n = notify_init(&session->notify, config->view, config->contents);
	int p = pusher_init(&session->pusher, config->view, config->contents);
	int w = onward_init(&session->onward, config->view, config->contents);
	int t = turns_init(
		&session->turns, config->may_sleep ? NULL : WAKEFUL_DEVICE, TURNS_ASLEEP);

	if (r == 0)
		r = s < 0 ? s : o < 0 ? o : n < 0 ? n : p < 0 ? p : w < 0 ? w : t;
	if (r < 0) {
		session_free(session);
		return r;
	}
	*out = session;
	return 0;
}

void session_free(struct session *session)
{
	if (!session)
		return;
	session_end(session);
	parked_list_release(&session->parked);
	sum_queue_release(&session->sums);
	notify_release(&session->notify);
	pusher_release(&session->pusher);
	onward_release(&session->onward);
	turns_release(&session->turns);
	fuse_session_destroy(session->fuse);
	open_files_release(&session->open_files);
	free(session);
}

int session_mount(struct session *session)
{
	/* before the mount, so that a signal never leaves a dead one */
	if (fuse_set_signal_handlers(session->fuse) != 0)
		return log_error_errno(-EIO, "cannot install signal handlers");
	if (fuse_session_mount(session->fuse, session->config.mountpoint) != 0)
		return log_error_errno(-EIO,
			"cannot mount on %s: is /dev/fuse there and may this user "
			"use it? (for allow_other as a user, /etc/fuse.conf needs "
			"user_allow_other)",
			session->config.mountpoint);
	/* before INIT is answered: it can only lessen what is set here */
	bdi_set_read_ahead(session->config.mountpoint, READ_AHEAD_KIB);
	int r = device_attach(session->fuse);

	if (r < 0) {
		fuse_session_unmount(session->fuse);
		return log_error_errno(
			r, "cannot set up the FUSE session: %s", log_strerror(r));
	}
	passthrough_attach(&session->passthrough, session->fuse);
	notify_attach(&session->notify, session->fuse);
	/* without OPEN nobody knows what is being read: see pusher.h */
	if (session->config.open_mode != SESSION_OPEN_NONE)
		pusher_attach(&session->pusher, session->fuse);
	return 0;
}

int session_run(struct session *session)
{
	struct fuse_loop_config *loop = fuse_loop_cfg_create();

	if (!loop)
		return -ENOMEM;
	int r = fuse_session_loop_mt(session->fuse, loop);

	fuse_loop_cfg_destroy(loop);
	if (r < 0)
		return log_error_errno(r,
			"the kernel's requests cannot be read any more: %s",
			log_strerror(r));
	return 0;
}

int session_flip(
	struct session *session, const struct catalog_ref *root, uint64_t revision)
{
	struct view_changes *changes;
	int r = view_flip(session->config.view, root, revision, &changes);

	if (r < 0)
		return r;
	r = notify_send(&session->notify, changes);
	view_changes_free(changes);
	return r;
}

void session_get_stats(struct session *session, struct session_stats *out)
{
	*out = (struct session_stats){
		.lookups = atomic_load(&session->lookups),
		.listings = atomic_load(&session->listings),
		.getattrs = atomic_load(&session->getattrs),
		.opens = atomic_load(&session->opens),
		.reads = atomic_load(&session->reads),
		.notifications = atomic_load(&session->notify.sent),
		.pushes = atomic_load(&session->pusher.pushed),
	};
}

/* The kernel may hold a notification up until a lookup is answered that nobody reads any more. */
static void answer_until_notified(struct session *session)
{
	struct fuse_buf buffer = {0};
	struct pollfd ready = {.fd = fuse_session_fd(session->fuse), .events = POLLIN};

	while (!notify_is_over(&session->notify) || !pusher_is_over(&session->pusher)) {
		if (poll(&ready, 1, NOTIFY_POLL_MS) <= 0)
			continue;
		int r = fuse_session_receive_buf(session->fuse, &buffer);

		if (r > 0)
			fuse_session_process_buf(session->fuse, &buffer);
		else if (r != -EINTR && r != -EAGAIN)
			(void)poll(NULL, 0, NOTIFY_POLL_MS);
	}
	free(buffer.mem);
}

void session_end(struct session *session)
{
	turns_end(&session->turns);
	notify_stop(&session->notify);
	pusher_stop(&session->pusher);
	parked_list_end(&session->parked);
	sum_queue_end(&session->sums);
	onward_stop(&session->onward);
	answer_until_notified(session);
	notify_attach(&session->notify, NULL);
	pusher_attach(&session->pusher, NULL);
}

void session_unmount(struct session *session)
{
	parked_list_wait_answered(&session->parked);
	fuse_session_unmount(session->fuse);
	fuse_remove_signal_handlers(session->fuse);
}
