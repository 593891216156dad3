import threading

from celery import current_app


def test_every_thread_sends_its_tasks_to_our_broker() -> None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(current_app.main))
    thread.start()
    thread.join()
    assert [current_app.main, *seen] == ["frontrow", "frontrow"]
