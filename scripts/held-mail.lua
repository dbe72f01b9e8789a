-- Reports the held mail of all sites, the oldest first: held-mail. The service has to run.
local held = {}
for _, d in ipairs(queue.list()) do
  if d.state == "held" then held[#held + 1] = d end
end
table.sort(held, function(a, b) return tostring(a.oldest) < tostring(b.oldest) end)
for _, d in ipairs(held) do
  print(string.format("site %d  %s  %d messages, %d bytes, oldest %s", d.site, d.domain, d.messages, d.bytes, d.oldest))
end
print(#held .. " domains hold mail")
