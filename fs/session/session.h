/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One FUSE mount: a thin skin over the view and the content store, which know no FUSE. Each
 * callback answers exactly once, at once or, when it needs the network, parked (fs/session/parked.h).
 *
 *	r = session_new(&config, &session);
 *	r = session_mount(session);
 *	r = session_run(session);	(returns when unmounted or told to end)
 *	session_end(session);
 *	... end the source, so that nothing answers a request any more ...
 *	session_unmount(session);
 *	session_free(session);
 */
#pragma once

#include "cache/content/content.h"
#include "cache/pins.h"
#include "cache/sync_state.h"
#include "cache/view/view.h"

#include <stdbool.h>
#include <stdint.h>

struct session;

enum session_open_mode {
	SESSION_OPEN_PASSTHROUGH, /* where it can be had; else ordinary opens */
	SESSION_OPEN_NONE,	  /* the kernel opens files without asking */
};

struct session_config {
	const char *mountpoint;
	const char
		*fsname; /* unique and stable per mount: Samba's file ids build on it */
	const char *channel;
	bool allow_other;
	enum session_open_mode open_mode;
	bool may_sleep;	    /* processors may, between two requests: see wakeful.h */
	int64_t timeout_ns; /* how long a read waits for the network before it fails */
	struct view *view;
	struct content_store *contents;
	struct object_store *objects;
	struct pins *pins;
	struct source *source;	 /* for its status */
	struct sync_teller sync; /* likewise */
};

/* Borrows everything in `config` for the session's life. */
int session_new(const struct session_config *config, struct session **out) WARN_UNUSED;
void session_free(struct session *session);

/* Mounts. Errors are logged with a remedy. From here on the mountpoint shows the tree; requests
 * wait until session_run(). */
int session_mount(struct session *session) WARN_UNUSED;

/* Serves requests until the mount is gone or a SIGTERM, SIGINT or SIGHUP arrives. */
int session_run(struct session *session) WARN_UNUSED;

/* Shows another tree from now on (view_flip(), with its errors) and returns when the kernel has
 * forgotten what is different; what is open, mapped or somebody's working directory stays as it
 * was. -ECANCELED when the session ends meanwhile: the view has flipped all the same. Before
 * session_run(), too. Any thread but those that answer requests; not in an epoch. */
int session_flip(struct session *session, const struct catalog_ref *root,
	uint64_t revision) WARN_UNUSED;

/* Requests of the kernel since the start, and what it was told to forget. */
struct session_stats {
	uint64_t lookups;
	uint64_t listings;
	uint64_t getattrs;
	uint64_t opens;
	uint64_t reads;
	uint64_t notifications;
	uint64_t pushes; /* files put into its memory before it asked for them */
};

void session_get_stats(struct session *session, struct session_stats *out);

/* Fails what is parked: nobody is left waiting. */
void session_end(struct session *session);

/* Takes the mount away, lazily if files are open; once nobody answers a request any more, since it
 * closes the descriptor that answers are written to. After session_end(). */
void session_unmount(struct session *session);
