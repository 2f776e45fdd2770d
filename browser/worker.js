// Runs the app's own program in a Web Worker. The page says where its glue code is and hands over the compiled
// program, so that nothing is downloaded or compiled twice. From then on the program itself takes the messages.
addEventListener("message", async ({ data }) => {
  try {
    const { default: init } = await import(data.glue);
    await init({ module_or_path: data.module });
  } catch (error) {
    postMessage(String(error));
  }
}, { once: true });
