// Runs pytest on Pyodide in Node. Orders come as JSON: { pyodide, wheels: [folder], root, tests };
// what pytest says goes to stdout, and its status is that of the process.
import process from "node:process";

const order = JSON.parse(process.argv[2]);
const { loadPyodide } = await import(`${order.pyodide}/pyodide.mjs`);
const python = await loadPyodide({
  env: {
    HOME: "/",
    PYTHONDONTWRITEBYTECODE: "1",
    PYTEST_DISABLE_PLUGIN_AUTOLOAD: "1",
  },
});
const mount = (where, root) => {
  python.FS.mkdirTree(where);
  python.FS.mount(python.FS.filesystems.NODEFS, { root }, where);
  return where;
};
const root = mount("/repository", order.root);
const wheels = order.wheels.map((one, number) => mount(`/wheels/${number}`, one));
python.globals.set("places", python.toPy([
  `${root}/packages/store/src`,
  `${root}/packages/store/tests/support`,
  ...wheels,
]));
python.globals.set("tests", python.toPy(order.tests.map((one) => `${root}/packages/store/tests/${one}`)));
// Not the asynchronous way: the tests run loops of their own.
process.exit(python.runPython(`
import os, sys
sys.path[:0] = list(places)
os.chdir("/tmp")
with open("/tmp/pytest.ini", "w") as file:
    file.write("[pytest]\\nfilterwarnings = error\\nmarkers = slow\\n")
import pytest
int(pytest.main([
    "-q", "-x", "-c", "/tmp/pytest.ini", "--rootdir", "/repository/packages/store", "--noconftest",
    "--import-mode=importlib", "-p", "on_pyodide", "-p", "no:cacheprovider", "-p", "no:faulthandler",
    "--durations=5", *tests,
]))
`));
