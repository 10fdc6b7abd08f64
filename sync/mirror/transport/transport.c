/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/mirror/transport/transport.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"
#include "cache/base/threads/thread.h"
#include "sync/mirror/transport/places.h"
#include "sync/mirror/transport/transport_run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CONNECTIONS_KEPT 32
#define CLASSES		 (FETCH_BACKGROUND + 1)

/* Half its time-out, and no more than this, is left waiting; a reader has 5 s for names. */
#define LEFT_WAITING_MS 2000

#define TICK_MS 100   /* deadlines are looked at this often while something runs */
#define IDLE_MS 60000 /* nothing to do: sleep until woken */

struct queue {
	struct transfer *first;
	struct transfer **last;
};

struct transport {
	CURLM *multi;
	pthread_t thread;
	struct run_options options;

	struct mutex lock; /* guards what follows; clang 14 cannot say so for members */
	struct queue incoming;
	bool is_stopping;
	bool wants_resume;
	bool wants_hurry;
	bool has_limit; /* the two below are news */
	struct rate_limit limit;
	bool is_limit_paused;

	atomic_uint_fast64_t piece_bytes;

	/* the thread's own */
	struct background background;
	bool is_busy; /* as on_busy() was last told */
	void (*on_busy)(void *arg, bool is_busy);
	void *arg;
	size_t turn; /* whose it is to read on first */
	struct queue waiting[CLASSES];
	int64_t none_until_ns[CLASSES]; /* of these none could begin; 0: look again */
	struct run runs[PLACES_ALL];
	struct places places;
	unsigned int ends_to_shed; /* after so many more connections are kept again */
	bool is_running;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_init_result;

static void init_curl(void)
{
	curl_init_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void queue_init(struct queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

static void queue_add(struct queue *q, struct transfer *t)
{
	t->next = NULL;
	*q->last = t;
	q->last = &t->next;
}

static void queue_put_back(struct queue *q, struct transfer *t)
{
	t->next = q->first;
	q->first = t;
	if (q->last == &q->first)
		q->last = &t->next;
}

/* Takes the first transfer whose time has come, and for which there is a place: a small one may
 * find one where a large one waits. Tells when the next one's time comes. */
static struct transfer *queue_take(struct queue *q, const struct places *places,
	enum fetch_class class, int64_t now_ns, int64_t *wake_ns)
{
	for (struct transfer **p = &q->first; *p; p = &(*p)->next) {
		struct transfer *t = *p;

		if (t->not_before_ns > now_ns) {
			if (t->not_before_ns < *wake_ns)
				*wake_ns = t->not_before_ns;
			continue;
		}
		if (!places_have_one(places, t, class, now_ns))
			continue;
		*p = t->next;
		if (q->last == &t->next)
			q->last = p;
		return t;
	}
	return NULL;
}

/* Puts what `q` holds where it belongs. */
static void queue_sort(struct queue *q, struct transport *transport)
{
	struct transfer *t = q->first;

	queue_init(q);
	while (t) {
		struct transfer *next = t->next;
		enum fetch_class class = transfer_class(t);

		queue_add(&transport->waiting[class], t);
		transport->none_until_ns[class] = 0;
		t = next;
	}
}

static void refuse(struct transfer *t, int error, const char *reason)
{
	struct transfer_result result = {.error = error};

	(void)snprintf(result.reason, sizeof(result.reason), "%s", reason);
	t->on_done(t, &result);
}

static void cancel(struct transfer *t)
{
	refuse(t, -ECANCELED, "shutting down");
}

/* A reader has joined some of what runs, or waits. */
static void hurry(struct transport *transport)
{
	for (size_t class = FETCH_READ_AHEAD; class < CLASSES; class ++)
		queue_sort(&transport->waiting[class], transport);
	for (size_t i = 0; i < ARRAY_SIZE(transport->runs); i++) {
		struct run *run = &transport->runs[i];

		if (!run->transfer || !run->background ||
			transfer_class(run->transfer) != FETCH_DEMAND)
			continue;
		run_leave_background(run);
		if (run->is_held)
			run_continue(run, clock_mono_ns());
	}
}

static void resume(struct transport *transport)
{
	for (size_t i = 0; i < ARRAY_SIZE(transport->runs); i++) {
		struct run *run = &transport->runs[i];

		if (run->transfer && run->is_paused)
			run_continue(run, clock_mono_ns());
	}
}

/* Sorts what came in by class. Returns false when it is time to stop. */
static bool take_incoming(struct transport *transport)
{
	mutex_lock(&transport->lock);
	bool is_stopping = transport->is_stopping;
	bool wants_resume = transport->wants_resume;
	bool wants_hurry = transport->wants_hurry;

	queue_sort(&transport->incoming, transport);
	transport->wants_resume = false;
	transport->wants_hurry = false;
	if (transport->has_limit)
		throttle_set(&transport->background.throttle, &transport->limit,
			transport->is_limit_paused, clock_mono_ns());
	transport->has_limit = false;
	mutex_unlock(&transport->lock);
	if (wants_hurry)
		hurry(transport);
	if (wants_resume)
		resume(transport);
	return !is_stopping;
}

/* Background transfers are held while a reader is served, here or in the other transport, and
 * read on in turns as their rate allows. */
static void continue_held(struct transport *transport)
{
	struct background *b = &transport->background;
	int64_t now_ns = clock_mono_ns();

	throttle_yield(&b->throttle,
		atomic_load(&b->is_yielding) || transport->places.taken > b->running,
		now_ns);
	atomic_store(&transport->piece_bytes, throttle_piece_bytes(&b->throttle));
	for (size_t i = 0; i < ARRAY_SIZE(transport->runs); i++) {
		struct run *run =
			&transport->runs[transport->turn % ARRAY_SIZE(transport->runs)];
		bool is_held = run->transfer && run->is_held;

		if (is_held && throttle_wait_read_ns(&b->throttle, now_ns))
			return;
		transport->turn++;
		if (is_held)
			run_continue(run, now_ns);
	}
}

/* When the first of them may go on, if time alone is in the way. */
static int64_t held_until_ns(struct transport *transport)
{
	int64_t now_ns = clock_mono_ns();
	int64_t wait_ns = throttle_wait_read_ns(&transport->background.throttle, now_ns);

	for (size_t i = 0; i < ARRAY_SIZE(transport->runs); i++) {
		const struct run *run = &transport->runs[i];

		if (run->transfer && run->is_held && wait_ns != INT64_MAX)
			return now_ns + wait_ns;
	}
	return INT64_MAX;
}

static void keep_connections(struct transport *transport, long count)
{
	(void)curl_multi_setopt(transport->multi, CURLMOPT_MAXCONNECTS, count);
}

/* It came in too great a company: its next try is no failure of its own. The connections that its
 * source allows are for the background, too, but curl keeps all that it has opened: until enough
 * transfers have ended, each of which lets one go that is too many. */
static void begin_again(struct transport *transport, struct transfer *t)
{
	queue_put_back(&transport->waiting[transfer_class(t)], t);
	keep_connections(transport, PLACES_LARGE);
	transport->ends_to_shed = PLACES_ALL;
}

static void end_run(struct transport *transport, struct run *run, CURLcode code)
{
	struct transfer *t = run->transfer;
	struct transfer_result result;
	long version = 0;

	if (code == CURLE_OK && run->is_http &&
		curl_easy_getinfo(run->easy, CURLINFO_HTTP_VERSION, &version) == CURLE_OK)
		places_set_multi(&transport->places, t, version >= CURL_HTTP_VERSION_2_0);
	run_finish(run, code, &result);
	run->transfer = NULL;
	if (transport->ends_to_shed && --transport->ends_to_shed == 0)
		keep_connections(transport, CONNECTIONS_KEPT);
	bool is_again = places_too_many(
		&transport->places, t, &result, run->start_ns, clock_mono_ns());

	places_leave(&transport->places, t);
	memset(transport->none_until_ns, 0, sizeof(transport->none_until_ns));
	if (is_again)
		begin_again(transport, t);
	else
		t->on_done(t, &result);
}

static void begin(struct transport *transport, struct transfer *t, int64_t now_ns)
{
	struct run *run = transport->runs;
	int error = t->on_start ? t->on_start(t) : 0;

	if (error < 0) {
		refuse(t, error, "overtaken by events");
		return;
	}
	while (run->transfer)
		run++;
	int r = run_start(run, t, &transport->options, now_ns);

	places_take(&transport->places, t, now_ns);
	if (r == 0 && curl_multi_add_handle(transport->multi, run->easy) == CURLM_OK)
		return;
	end_run(transport, run, CURLE_OUT_OF_MEMORY);
}

/* Whether the background may begin another one; if time alone is in its way, says when. */
static bool background_may_begin(
	struct transport *transport, int64_t now_ns, int64_t *wake_ns)
{
	struct background *b = transport->options.background;

	if (atomic_load(&b->is_yielding))
		return false;
	int64_t wait_ns = throttle_wait_start_ns(&b->throttle, b->running, now_ns);

	if (wait_ns && wait_ns != INT64_MAX && now_ns + wait_ns < *wake_ns)
		*wake_ns = now_ns + wait_ns;
	return wait_ns == 0;
}

/* The next one of this class that may begin; NULL: none, until something changes or *wake_ns. */
static struct transfer *take_next(struct transport *transport, enum fetch_class class,
	int64_t now_ns, int64_t *wake_ns)
{
	struct queue *q = &transport->waiting[class];
	int64_t *none_until_ns = &transport->none_until_ns[class];
	int64_t until_ns = INT64_MAX;
	struct transfer *t = NULL;

	if (!q->first)
		return NULL;
	if (now_ns >= *none_until_ns) {
		bool is_held_back =
			class == FETCH_BACKGROUND && transport->options.background;

		if (is_held_back && !background_may_begin(transport, now_ns, wake_ns))
			return NULL;
		/* what the throttle lets through is few enough */
		t = queue_take(q, &transport->places, is_held_back ? FETCH_DEMAND : class,
			now_ns, &until_ns);
		*none_until_ns = t ? 0 : until_ns;
	}
	if (!t && *none_until_ns < *wake_ns)
		*wake_ns = *none_until_ns;
	return t;
}

/* Returns when the next delayed transfer wants to start. */
static int64_t begin_waiting(struct transport *transport)
{
	int64_t now_ns = clock_mono_ns();
	int64_t wake_ns = INT64_MAX;
	struct transfer *t;

	for (enum fetch_class class = FETCH_DEMAND; class < CLASSES; class ++)
		while ((t = take_next(transport, class, now_ns, &wake_ns)))
			begin(transport, t, now_ns);
	return wake_ns;
}

static void end_finished(struct transport *transport)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(transport->multi, &left))) {
		void *arg;
		CURLcode code = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &arg);
		(void)curl_multi_remove_handle(transport->multi, m->easy_handle);
		end_run(transport, arg, code);
	}
}

/* Whether its source lets it wait while others are served: one that was asked for before it, or with it,
 * and is on the line still, is a reason to be silent. */
static bool is_left_waiting(
	const struct transport *transport, const struct run *run, int64_t now_ns)
{
	int64_t most_ms = run->timeout_ms / 2 < LEFT_WAITING_MS ? run->timeout_ms / 2
								: LEFT_WAITING_MS;

	if (run->first_byte_ns || run->status ||
		now_ns - run->start_ns < most_ms * NS_PER_MS)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(transport->runs); i++) {
		const struct run *r = &transport->runs[i];

		if (r->transfer && r->transfer->site == run->transfer->site &&
			r->first_byte_ns && r->start_ns <= run->start_ns &&
			r->transfer->length <= PLACES_SMALL_BYTES)
			return false;
	}
	return true;
}

/* More were asked for at a time than it serves: it is tried again, among fewer. */
static void turn_back(struct transport *transport)
{
	int64_t now_ns = clock_mono_ns();

	for (size_t i = 0; i < ARRAY_SIZE(transport->runs); i++) {
		struct run *run = &transport->runs[i];
		struct transfer *t = run->transfer;
		struct transfer_result result;

		if (!t || !is_left_waiting(transport, run, now_ns) ||
			!places_narrow(&transport->places, t, run->start_ns, now_ns))
			continue;
		(void)curl_multi_remove_handle(transport->multi, run->easy);
		run_finish(run, CURLE_OPERATION_TIMEDOUT, &result);
		run->transfer = NULL;
		places_leave(&transport->places, t);
		memset(transport->none_until_ns, 0, sizeof(transport->none_until_ns));
		begin_again(transport, t);
	}
}

static void end_overdue(struct transport *transport)
{
	int64_t now_ns = clock_mono_ns();

	for (size_t i = 0; i < ARRAY_SIZE(transport->runs); i++) {
		struct run *run = &transport->runs[i];

		if (!run->transfer || !run_overdue(run, now_ns))
			continue;
		(void)curl_multi_remove_handle(transport->multi, run->easy);
		end_run(transport, run, CURLE_OPERATION_TIMEDOUT);
	}
}

static void cancel_all(struct transport *transport)
{
	for (size_t i = 0; i < ARRAY_SIZE(transport->runs); i++) {
		struct run *run = &transport->runs[i];
		struct transfer *t = run->transfer;

		if (!t)
			continue;
		(void)curl_multi_remove_handle(transport->multi, run->easy);
		run->transfer = NULL;
		cancel(t);
	}
	for (size_t class = 0; class < CLASSES; class ++) {
		while (transport->waiting[class].first) {
			struct transfer *t = transport->waiting[class].first;

			transport->waiting[class].first = t->next;
			cancel(t);
		}
	}
}

static int poll_ms(const struct transport *transport, int64_t wake_ns)
{
	int64_t ms = transport->places.taken ? TICK_MS : IDLE_MS;

	if (wake_ns != INT64_MAX) {
		int64_t until = (wake_ns - clock_mono_ns() + NS_PER_MS - 1) / NS_PER_MS;

		if (until < ms)
			ms = until < 0 ? 0 : until;
	}
	return (int)ms;
}

static void tell_busy(struct transport *transport)
{
	bool is_busy = transport->places.taken > 0;

	if (is_busy == transport->is_busy)
		return;
	transport->is_busy = is_busy;
	if (transport->on_busy)
		transport->on_busy(transport->arg, is_busy);
}

static void *run_transport(void *arg)
{
	struct transport *transport = arg;
	int64_t ticked_ns = 0;

	while (take_incoming(transport)) {
		int running;

		if (transport->options.background)
			continue_held(transport);
		int64_t wake_ns = begin_waiting(transport);
		size_t before = transport->places.taken;

		tell_busy(transport);
		(void)curl_multi_perform(transport->multi, &running);
		end_finished(transport);
		if (clock_mono_ns() - ticked_ns >= TICK_MS * NS_PER_MS) {
			turn_back(transport);
			end_overdue(transport);
			ticked_ns = clock_mono_ns();
		}
		/* a place that came free is taken before sleeping */
		if (transport->places.taken < before)
			continue;
		tell_busy(transport);
		int64_t held_ns = held_until_ns(transport);

		if (held_ns < wake_ns)
			wake_ns = held_ns;
		(void)curl_multi_poll(
			transport->multi, NULL, 0, poll_ms(transport, wake_ns), NULL);
	}
	cancel_all(transport);
	return NULL;
}

static int copy_text(const char *text, char **out)
{
	if (!text)
		return 0;
	*out = mem_strdup(text);
	return *out ? 0 : -ENOMEM;
}

static int copy_options(
	struct run_options *options, const struct transport_config *config)
{
	char path[4096];
	const char *home = getenv("HOME");
	const char *knownhosts = config->knownhosts;

	options->timeout_ms =
		config->timeout_ms ? config->timeout_ms : TRANSPORT_TIMEOUT_MS;
	if (!knownhosts) {
		(void)snprintf(
			path, sizeof(path), "%s/.ssh/known_hosts", home ? home : "/root");
		knownhosts = path;
	}
	int r = copy_text(config->cafile, &options->cafile);

	if (r == 0)
		r = copy_text(config->sshkey, &options->sshkey);
	if (r == 0)
		r = copy_text(knownhosts, &options->knownhosts);
	return r;
}

static void prepare_background(
	struct transport *transport, const struct transport_config *config)
{
	struct background *b = &transport->background;

	throttle_init(&b->throttle);
	b->hold_ns = (config->hold_ms ? config->hold_ms : TRANSPORT_HOLD_MS) * NS_PER_MS;
	atomic_store(&transport->piece_bytes, throttle_piece_bytes(&b->throttle));
	if (config->is_background)
		transport->options.background = b;
}

/* The parts that need no thread. */
static int prepare(struct transport *transport, const struct transport_config *config)
{
	int r = copy_options(&transport->options, config);

	prepare_background(transport, config);
	transport->on_busy = config->on_busy;
	transport->arg = config->arg;

	if (r < 0)
		return r;
	transport->multi = curl_multi_init();
	if (!transport->multi)
		return -ENOMEM;
	(void)curl_multi_setopt(
		transport->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	(void)curl_multi_setopt(
		transport->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)PLACES_HTTP);
	keep_connections(transport, CONNECTIONS_KEPT);
	return 0;
}

int transport_new(const struct transport_config *config, struct transport **out)
{
	pthread_once(&curl_once, init_curl);
	if (curl_init_result != CURLE_OK)
		return -ENOMEM;
	struct transport *transport = mem_calloc(1, sizeof(*transport));

	if (!transport)
		return -ENOMEM;
	mutex_init(&transport->lock);
	mutex_lock(&transport->lock);
	queue_init(&transport->incoming);
	mutex_unlock(&transport->lock);
	for (size_t class = 0; class < CLASSES; class ++)
		queue_init(&transport->waiting[class]);
	int r = prepare(transport, config);

	if (r == 0)
		r = thread_start(
			&transport->thread, "transport", run_transport, transport);
	if (r < 0) {
		transport_free(transport);
		return r;
	}
	transport->is_running = true;
	*out = transport;
	return 0;
}

void transport_stop(struct transport *transport)
{
	if (!transport->is_running)
		return;
	mutex_lock(&transport->lock);
	transport->is_stopping = true;
	mutex_unlock(&transport->lock);
	(void)curl_multi_wakeup(transport->multi);
	(void)pthread_join(transport->thread, NULL);
	transport->is_running = false;
}

void transport_free(struct transport *transport)
{
	if (!transport)
		return;
	transport_stop(transport);
	for (size_t i = 0; i < ARRAY_SIZE(transport->runs); i++)
		run_release(&transport->runs[i]);
	if (transport->multi)
		(void)curl_multi_cleanup(transport->multi);
	mutex_release(&transport->lock);
	free(transport->options.cafile);
	free(transport->options.sshkey);
	free(transport->options.knownhosts);
	free(transport);
}

int transport_start(struct transport *transport, struct transfer *t)
{
	mutex_lock(&transport->lock);
	bool is_stopping = transport->is_stopping;

	if (!is_stopping)
		queue_add(&transport->incoming, t);
	mutex_unlock(&transport->lock);
	if (is_stopping)
		return -ECANCELED;
	(void)curl_multi_wakeup(transport->multi);
	return 0;
}

void transport_hurry(struct transport *transport)
{
	mutex_lock(&transport->lock);
	transport->wants_hurry = true;
	mutex_unlock(&transport->lock);
	(void)curl_multi_wakeup(transport->multi);
}

void transport_resume(struct transport *transport)
{
	mutex_lock(&transport->lock);
	transport->wants_resume = true;
	mutex_unlock(&transport->lock);
	(void)curl_multi_wakeup(transport->multi);
}

void transport_set_background(
	struct transport *transport, const struct rate_limit *limit, bool is_paused)
{
	mutex_lock(&transport->lock);
	transport->limit = *limit;
	transport->is_limit_paused = is_paused;
	transport->has_limit = true;
	mutex_unlock(&transport->lock);
	(void)curl_multi_wakeup(transport->multi);
}

void transport_yield(struct transport *transport, bool is_yielding)
{
	atomic_store(&transport->background.is_yielding, is_yielding);
	/* what reads sees it by itself, and asks for no more */
	if (!is_yielding)
		(void)curl_multi_wakeup(transport->multi);
}

uint64_t transport_piece_bytes(struct transport *transport)
{
	return atomic_load(&transport->piece_bytes);
}
