/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/mirror_main.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/epoch.h"
#include "cache/judge.h"
#include "cache/objects/housekeeping.h"
#include "cache/state/state_db.h"
#include "fs/mount/cache_dir.h"
#include "fs/mount/mount_options.h"
#include "fs/mount/mountpoint.h"
#include "fs/session/session.h"
#include "sync/jobs/records/history.h"
#include "sync/jobs/records/report_verb.h"
#include "sync/mirror/fetcher.h"
#include "sync/mirror/follower.h"
#include "sync/reconcile/reconciler.h"
#include "sync/upkeep/upkeep.h"
#include "sync/watch/control.h"
#include "sync/watch/mirror_status.h"

#include <errno.h>
#include <inttypes.h>

/* A fetch is retried this much longer than a reader waits for it, so that a retry finds the
 * content. */
#define FETCH_PATIENCE 4

struct mirror {
	const struct mount_options *options;
	struct cache_dir cache;
	struct key_ring keys;
	struct follower *follower;
	struct follower_result channel;
	char fsname[256];
	struct fetcher *fetcher;
	struct checkpoint *checkpoint;
	struct object_store *objects;
	struct catalog_store *catalogs;
	struct content_store *contents;
	struct state_db *state;
	struct state_view shown; /* as the mount began */
	struct view *view;
	struct view *given_up; /* may get its catalog until the fetcher has ended */
	struct housekeeping *housekeeping;
	struct pins *pins;
	struct judge *judge;
	struct evictor *evictor;
	struct session *session;
	struct report_config report;
	struct control_verbs report_verbs;
	struct upkeep *upkeep;
	struct control_verbs history_verbs;
	struct control_verbs upkeep_verbs;
	struct settings *settings; /* until the reconciler has them */
	struct reconciler *reconciler;
	struct control_verbs verbs;
	struct control *control;
};

int mirror_settings_read(
	const struct mount_options *o, struct settings *out, char *reason)
{
	int r = settings_init(out);

	for (size_t i = 0; r == 0 && i < o->setting_count; i++) {
		AUTO_FREE char *name = mem_strdup(o->settings[i]);
		char *value = name ? strchr(name, '=') : NULL;

		if (!value) {
			r = -ENOMEM;
			break;
		}
		*value++ = '\0';
		r = settings_set(out, name, value, reason);
		if (r == -ENOENT)
			(void)words_refuse(reason, "unknown option '%s'", name);
	}
	if (r == 0 && o->conf) {
		char why[TEXT_REASON_SIZE] = "out of memory";

		r = settings_read(out, o->conf, why);
		if (r < 0)
			(void)words_refuse(reason, "%s (%s)", why, o->conf);
	}
	if (r < 0)
		settings_release(out);
	return r;
}

int mirror_new(
	const struct mount_options *o, struct settings *settings, struct mirror **out)
{
	struct mirror *m = mem_calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->options = o;
	m->settings = settings;
	m->cache = (struct cache_dir)CACHE_DIR_INIT;
	*out = m;
	return 0;
}

static int open_stores(struct mirror *m)
{
	struct content_config contents = {.cache_dirfd = m->cache.fd,
		.source = fetcher_source(m->fetcher),
		.fetch_deadline_ns =
			FETCH_PATIENCE * m->options->timeout_sec * NS_PER_SEC};
	int r = checkpoint_open(m->cache.fd, &m->checkpoint);

	if (r == 0)
		r = object_store_open(m->cache.fd, m->checkpoint, &m->objects);
	if (r == 0)
		r = catalog_store_open(m->cache.fd, &m->catalogs);
	if (r == 0)
		catalog_store_count_in(m->catalogs, object_store_usage(m->objects));
	contents.checkpoint = m->checkpoint;
	contents.objects = m->objects;
	if (r == 0)
		r = content_store_new(&contents, &m->contents);
	if (r < 0)
		return log_error_errno(r, "cannot set up the cache in %s: %s",
			m->options->cache, log_strerror(r));
	return 0;
}

static int open_state(struct mirror *m)
{
	int r = state_db_open(m->options->cache, &m->state);

	if (r < 0 && r != -EBUSY)
		return log_error_errno(r, "cannot open the mirror's records in %s: %s",
			m->options->cache, log_strerror(r));
	if (r == 0)
		r = pins_open(m->state, &m->pins);
	return r;
}

static int open_channel(struct mirror *m)
{
	const struct mount_options *o = m->options;
	struct fetcher_config config = {
		.urls = o->urls,
		.cafile = o->cafile,
		.sshkey = o->sshkey,
		.knownhosts = o->knownhosts,
		.timeout_ms = (int)o->timeout_sec * 1000,
	};
	int r = key_ring_load(o->key, &m->keys);

	if (r < 0)
		return log_error_errno(r, "cannot read a public key from %s: %s", o->key,
			r == -EINVAL ? "it holds none (the NAME.pub that `depotfs init` "
				       "wrote is wanted)"
				     : log_strerror(r));
	r = fetcher_new(&config, &m->fetcher);
	if (r < 0)
		return r; /* it has said why */
	r = follower_new(m->cache.fd, &m->keys, o->channel, m->fetcher, &m->follower);
	if (r == 0)
		r = follower_open(m->follower, &m->channel);
	if (r < 0)
		return log_error_errno(r, "channel %s cannot be followed: %s", o->channel,
			log_strerror(r));
	return 0;
}

/* 0 with the view loaded. */
static int load_view(struct mirror *m)
{
	struct view_config config = {
		.catalogs = m->catalogs,
		.source = fetcher_source(m->fetcher),
		.root = m->shown.root,
		.revision = m->shown.revision,
		.fetch_deadline_ns = m->options->timeout_sec * NS_PER_SEC,
	};
	int r = view_new(&config, &m->view);

	return r < 0 ? r : view_load(m->view);
}

/* Its root catalog is not on this machine (what is damaged is removed), and this is what became of
 * asking for it. Anything else may be over at the next start: what a mirror composed, and no
 * source has, must not be given up for it. */
static bool is_not_here(int error)
{
	return error == -ENOENT || error == -EBADMSG || error == -EUCLEAN ||
	       error == -EHOSTUNREACH || error == -ETIMEDOUT;
}

/* A source may have it when it answers again. */
static bool is_passing(int error)
{
	return error == -EHOSTUNREACH || error == -ETIMEDOUT;
}

/* What was shown last; the channel's newest where nothing was, or where that was lost. */
static int open_view(struct mirror *m)
{
	const struct head *head = &m->channel.head;
	int r = state_db_view_get(m->state, &m->shown);
	bool is_kept = false;

	if (r < 0 && r != -ENOENT)
		return log_error_errno(r,
			"what was shown last cannot be read from the records in %s: %s; "
			"nothing is changed, try again",
			m->options->cache, log_strerror(r));
	if (r == 0) {
		r = load_view(m);
		if (r == 0)
			return 0;
		if (!is_not_here(r))
			return log_error_errno(r,
				"the root catalog of what was shown last, revision "
				"%" PRIu64 ", cannot be opened: %s; nothing is changed, "
				"mend the disk of %s and try again",
				m->shown.revision, log_strerror(r), m->options->cache);
		is_kept = is_passing(r);
		log_warn("what was shown last, revision %" PRIu64
			 ", cannot be had any more (%s): going on with the channel's "
			 "newest",
			m->shown.revision, log_strerror(r));
		m->given_up = m->view;
		m->view = NULL;
	}
	m->shown = (struct state_view){.root = head->root,
		.revision = head->revision,
		.sequence = head->sequence,
		.time_ns = clock_real_ns()};
	r = load_view(m);
	if (r < 0)
		return log_error_errno(r,
			"the root catalog of revision %" PRIu64 " cannot be had: %s",
			head->revision, log_strerror(r));
	if (!is_kept && state_db_view_set(m->state, &m->shown) < 0)
		log_warn("what is shown cannot be written down: the next start shows the "
			 "channel's newest");
	return 0;
}

static void tell_sync(void *arg, struct sync_state *out)
{
	const struct mirror *m = arg;
	struct reconciler_status now;

	reconciler_status(m->reconciler, &now);
	out->last_poll_ns = now.last_poll_ns;
	out->last_sync_ns = now.last_sync_ns;
	memcpy(out->last_error, now.last_error, sizeof(out->last_error));
}

static int make_session(struct mirror *m)
{
	uint64_t place =
		hash64(m->options->mountpoint, strlen(m->options->mountpoint), 0);

	(void)snprintf(m->fsname, sizeof(m->fsname), "%s-%016" PRIx64,
		m->channel.trust.name, place);
	struct session_config config = {
		.mountpoint = m->options->mountpoint,
		.fsname = m->options->fsname ? m->options->fsname : m->fsname,
		.channel = m->options->channel,
		.allow_other = m->options->allow_other,
		.open_mode = m->options->is_open_none ? SESSION_OPEN_NONE
						      : SESSION_OPEN_PASSTHROUGH,
		.may_sleep = m->options->is_latency_normal,
		.timeout_ns = m->options->timeout_sec * NS_PER_SEC,
		.view = m->view,
		.contents = m->contents,
		.objects = m->objects,
		.pins = m->pins,
		.source = fetcher_source(m->fetcher),
		.sync = {.tell = tell_sync, .arg = m},
	};
	int r = session_new(&config, &m->session);

	if (r < 0)
		return log_error_errno(
			r, "cannot make a FUSE session: %s", log_strerror(r));
	return 0;
}

static int flip(void *arg, const struct catalog_ref *root, uint64_t revision)
{
	const struct mirror *m = arg;

	return session_flip(m->session, root, revision);
}

static int reload(void *arg, struct settings *out, char reason[TEXT_REASON_SIZE])
{
	const struct mirror *m = arg;

	return mirror_settings_read(m->options, out, reason);
}

static int open_reconciler(struct mirror *m)
{
	const struct reconciler_config config = {
		.env = {.mountpoint = m->options->mountpoint,
			.cache_dirfd = m->cache.fd,
			.catalogs = m->catalogs,
			.contents = m->contents,
			.objects = m->objects,
			.source = fetcher_source(m->fetcher),
			.state = m->state,
			.pins = m->pins,
			.timeout_ns = m->options->timeout_sec * NS_PER_SEC,
			.flip = flip,
			.flip_arg = m},
		.follower = m->follower,
		.fetcher = m->fetcher,
		.channel = m->channel,
		.view = m->shown,
		.settings = m->settings,
		.reload = reload,
		.reload_arg = m,
	};
	int r = reconciler_new(&config, &m->reconciler);

	if (r < 0)
		return log_error_errno(
			r, "cannot make the reconciler: %s", log_strerror(r));
	return 0;
}

static struct mirror_requests count_requests(const struct mirror *m)
{
	struct session_stats stats;

	session_get_stats(m->session, &stats);
	return (struct mirror_requests){.lookups = stats.lookups,
		.listings = stats.listings,
		.getattrs = stats.getattrs,
		.opens = stats.opens,
		.reads = stats.reads,
		.notifications = stats.notifications,
		.pushes = stats.pushes};
}

static int answer_status(void *arg, const cJSON *request, cJSON *answer)
{
	const struct mirror *m = arg;
	struct reconciler_status now;
	char state_error[STATE_WORDS_SIZE];

	/* it may wait for the disk, and a flip waits for whoever is in an epoch */
	state_db_words(m->state, state_error);
	AUTO_EPOCH epoch = epoch_enter();
	struct mirror_status status = {
		.mountpoint = m->options->mountpoint,
		.cache = m->options->cache,
		.repository = m->channel.trust.name,
		.channel = m->options->channel,
		.tree_entries = view_root_catalog(m->view)->header->tree_entries,
		.tree_bytes = view_root_catalog(m->view)->header->tree_bytes,
		.cache_used = usage_total(object_store_usage(m->objects)),
		.cache_limit = m->options->cache_limit,
	};

	(void)request;
	reconciler_status(m->reconciler, &now);
	status.revision = now.view.revision;
	status.channel_revision = now.head.revision;
	status.published_ns = now.head.published_ns;
	status.last_poll_ns = now.last_poll_ns;
	status.last_sync_ns = now.last_sync_ns;
	status.last_error = now.last_error;
	status.policy_error = now.policy_error;
	status.state_error = state_error;
	status.running = now.running;
	status.waiting = now.waiting;
	source_status(fetcher_source(m->fetcher), &status.source);
	status.requests = count_requests(m);
	mirror_status_fill(&status, answer);
	return 0;
}

static const struct control_verb mirror_verbs[] = {
	{"status", answer_status},
};

static int answer_control(void *arg, const char *request, struct buffer *reply)
{
	const struct mirror *m = arg;

	return control_verbs_answer(&m->verbs, request, reply);
}

static bool is_promised(void *arg, const char *path)
{
	const struct mirror *m = arg;

	return reconciler_promises(m->reconciler, path);
}

static void tell_sides(void *arg, struct report_sides *out)
{
	const struct mirror *m = arg;
	struct reconciler_status now;

	reconciler_status(m->reconciler, &now);
	*out = (struct report_sides){.view = now.view.root,
		.head = now.head.root,
		.view_revision = now.view.revision,
		.head_revision = now.head.revision,
		.published_ns = now.head.published_ns};
}

static int open_control(struct mirror *m)
{
	m->report = (struct report_config){
		.is_promised = is_promised,
		.cache_dirfd = m->cache.fd,
		.catalogs = m->catalogs,
		.contents = m->contents,
		.state = m->state,
		.sides = tell_sides,
		.arg = m,
	};
	m->report_verbs = report_verbs(&m->report);
	m->history_verbs = history_verbs(m->state);
	m->upkeep_verbs = upkeep_verbs(m->upkeep);
	m->upkeep_verbs.next = &m->history_verbs;
	m->history_verbs.next = &m->report_verbs;
	m->report_verbs.next = reconciler_verbs(m->reconciler);
	m->verbs = (struct control_verbs){.verbs = mirror_verbs,
		.count = ARRAY_SIZE(mirror_verbs),
		.arg = m,
		.next = &m->upkeep_verbs};
	int r = control_start(m->options->mountpoint, answer_control, m, &m->control);

	if (r == -ENXIO)
		return log_error_errno(r, "there is no place for the control socket: set "
					  "XDG_RUNTIME_DIR, as a login does");
	if (r < 0)
		return log_error_errno(r, "cannot open the control socket for %s: %s",
			m->options->mountpoint, log_strerror(r));
	return 0;
}

static size_t shown_roots(void *arg, struct catalog_ref out[JUDGE_ROOTS_MAX])
{
	const struct mirror *m = arg;

	return reconciler_roots(m->reconciler, out);
}

static int open_chores(struct mirror *m)
{
	struct judge_config judge = {.contents = m->contents,
		.catalogs = m->catalogs,
		.pins = m->pins,
		.roots = shown_roots,
		.arg = m};
	struct evictor_config evictor = {
		.cache_dirfd = m->cache.fd,
		.objects = m->objects,
		.catalogs = m->catalogs,
		.limit_bytes = m->options->cache_limit,
		.floor = m->options->cache_free,
	};
	int r = judge_new(&judge, &m->judge);

	if (r == 0) {
		evictor.judge = judge_for_eviction(m->judge);
		r = evictor_start(&evictor, &m->evictor);
	}
	if (r == 0)
		r = housekeeping_start(m->objects, m->checkpoint, &m->housekeeping);
	struct upkeep_config upkeep = {.cache_dirfd = m->cache.fd,
		.contents = m->contents,
		.objects = m->objects,
		.catalogs = m->catalogs,
		.source = fetcher_source(m->fetcher),
		.pins = m->pins,
		.roots = shown_roots,
		.arg = m,
		.timeout_ns = FETCH_PATIENCE * m->options->timeout_sec * NS_PER_SEC};

	if (r == 0)
		r = upkeep_start(&upkeep, &m->upkeep);
	if (r < 0)
		return log_error_errno(
			r, "cannot look after the cache: %s", log_strerror(r));
	return 0;
}

int mirror_open(struct mirror *m)
{
	int r = mountpoint_prepare(m->options->mountpoint);

	if (r == 0)
		r = cache_dir_open(m->options->cache, m->options->mountpoint, &m->cache);
	if (r == 0)
		r = open_channel(m);
	if (r == 0)
		r = open_stores(m);
	if (r == 0)
		r = open_state(m);
	if (r == 0)
		r = open_view(m);
	if (r == 0)
		r = open_reconciler(m);
	if (r == 0)
		r = open_chores(m);
	if (r == 0)
		r = make_session(m); /* which the control socket's verbs ask */
	if (r == 0)
		r = open_control(m);
	if (r == 0)
		r = session_mount(m->session);
	if (r == 0)
		r = reconciler_start(m->reconciler);
	if (r == 0)
		log_info("%s: revision %" PRIu64 " of %s/%s is mounted on %s",
			m->channel.is_online ? "online" : "offline",
			m->channel.head.revision, m->channel.trust.name,
			m->options->channel, m->options->mountpoint);
	return r;
}

int mirror_serve(struct mirror *m)
{
	return session_run(m->session);
}

/* In the order in which they stop needing each other; all of them take NULL. */
void mirror_free(struct mirror *m)
{
	if (!m)
		return;
	if (m->session)
		session_end(m->session);
	if (m->control)
		control_stop(m->control);
	fetcher_stop(m->fetcher); /* wakes whoever is parked still, and who works here */
	/* before a hook is waited for: nobody answers what is asked of the mount any more */
	if (m->session)
		session_unmount(m->session);
	upkeep_stop(m->upkeep);
	reconciler_stop(m->reconciler);
	follower_free(m->follower);
	fetcher_free(m->fetcher);
	session_free(m->session);
	evictor_stop(m->evictor);
	judge_free(m->judge);
	reconciler_free(m->reconciler);
	housekeeping_stop(m->housekeeping);
	content_store_free(m->contents);
	view_free(m->view);
	view_free(m->given_up);
	catalog_store_free(m->catalogs);
	object_store_free(m->objects);
	checkpoint_free(m->checkpoint);
	pins_close(m->pins);
	state_db_close(m->state);
	cache_dir_close(&m->cache);
	free(m);
}
